"""What is compared: sources of motion behind one interface, by name.

`articulation-phones`, `articulation-audio`   motion v1 (also the teacher), with phone times or by the viseme network
`NAME-STEPS[-audio]`                          a diffusion model's weights, so many flow steps, with phones or by ear
`real`                                        the tracked motion itself: what the others are measured against
`mismatched`                                  another clip's tracked motion: what chance looks like
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

import avatar
from avatar.audio.phones import TimedPhone
from avatar.motion.controls import Asked
from avatar.motion.idle import State
from avatar.motion.stream import MotionStream
from avatar.motion.viseme_net import VisemeNet

Floats = NDArray[np.float32]
REAL: Final = "real"
MISMATCHED: Final = "mismatched"
BY_EAR: Final = "-audio"
"""End of the name of a system that is given no phone times."""


class Stream(Protocol):
    """What a live session asks of a source of motion (avatar/motion/stream.py)."""

    def push_audio(self, pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None = None) -> None: ...

    def end_segment(self) -> None: ...

    def clear(self) -> None: ...

    def set_state(self, state: State) -> None: ...

    def hear(self, pcm_S: NDArray[np.int16]) -> None: ...

    def ready_frames(self) -> int: ...

    def next_motion(self, *, hold: bool = False) -> Floats: ...


@dataclass(frozen=True)
class System:
    """One row of the tables.

    open: makes a fresh stream for a seed and for what is asked of the face. phones: whether phone times are given to
    it. key: what its motion depends on besides its input (for the cache). obeys: it follows what is asked.
    block: frames of a window, 0 when it has no windows.
    """

    name: str
    open: Callable[[int, Asked], Stream]
    phones: bool
    key: str
    obeys: bool = False
    block: int = 0
    settings: dict[str, str] = field(default_factory=dict)


@cache
def code_digest() -> str:
    """Digest of everything below avatar/ that motion is made by."""
    root = Path(avatar.__file__).parent
    digest = hashlib.sha256()
    for folder in ("motion", "audio"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".py", ".safetensors"}:
                digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def articulation(*, phones: bool, net: Callable[[], VisemeNet] = VisemeNet) -> System:
    """Motion v1. net: what hears speech that comes without phone times."""

    def opened(seed: int, asked: Asked) -> MotionStream:
        return MotionStream(seed, None if phones else net())

    name = "articulation-phones" if phones else "articulation" + BY_EAR
    return System(name, opened, phones, f"{name}:{code_digest()}")


def recorded(name: str) -> System:
    """`real` or `mismatched`: nothing is played, the clip's own motion is shown."""

    def opened(seed: int, asked: Asked) -> Stream:
        raise AssertionError("recorded motion is not played")

    return System(name, opened, phones=False, key=name)
