"""What is compared: sources of motion behind one interface, by name.

`articulation-phones`, `articulation-audio`   motion v1 (also the teacher), with phone times or by the viseme network
`NAME-STEPS[-gSTRENGTH][-audio]`              a diffusion model's weights, so many flow steps, perhaps with guidance
                                              at run time (guided.py), with phone times or by ear
`real`                                        the tracked motion itself: what the others are measured against
`mismatched`                                  another clip's tracked motion: what chance looks like
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import avatar
from avatar.motion.diffusion.features import SpeechFeatures
from avatar.motion.diffusion.layout import BLOCK
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.diffusion.weights import MotionWeights, load_weights, shipped_weights
from avatar.motion.protocol import Motion
from avatar.motion.stream import MotionStream
from avatar.motion.viseme_net import VisemeNet
from scripts.evaluate.guided import GuidedNet

REAL: Final = "real"
MISMATCHED: Final = "mismatched"
BY_EAR: Final = "-audio"
"""End of the name of a system that is given no phone times."""


@dataclass(frozen=True)
class System:
    """One row of the tables.

    open: a fresh stream for a seed. phones: whether phone times are given to it. key: what its motion depends on
    besides its input (for the cache). block: frames of a window, 0 when it makes its frames one by one.
    """

    name: str
    open: Callable[[int], Motion]
    phones: bool
    key: str
    block: int = 0


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

    def opened(seed: int) -> Motion:
        return MotionStream(seed, None if phones else net())

    name = "articulation-phones" if phones else "articulation" + BY_EAR
    return System(name, opened, phones, f"{name}:{code_digest()}")


def diffusion(name: str, path: Path | None, steps: int, *, phones: bool, guidance: float = 0.0) -> System:
    """The motion network as a live stream.

    path: a weights file, None for the shipped `name` (small or base). guidance: see guided.py.
    """
    weights = shipped_weights(name) if path is None else load_weights(path)
    nets: list[NumpyNet] = []

    def opened(seed: int) -> Motion:
        if not nets:  # opened late: a cached run needs none
            nets.append(GuidedNet(weights, steps, guidance) if guidance else NumpyNet(weights, steps))
        return DiffusionMotion(nets[0], seed, features=SpeechFeatures())

    label = f"{name}-{steps}" + (f"-g{guidance:g}" if guidance else "") + ("" if phones else BY_EAR)
    return System(label, opened, phones, f"{label}:{weights_digest(weights)}:{code_digest()}", BLOCK)


def weights_digest(weights: MotionWeights) -> str:
    """Digest of the numbers of a network."""
    digest = hashlib.sha256()
    for name in sorted(weights.tensors):
        digest.update(name.encode() + weights.tensors[name].tobytes())
    return digest.hexdigest()[:16]


def recorded(name: str) -> System:
    """`real` or `mismatched`: nothing is played, the clip's own motion is shown."""

    def opened(seed: int) -> Motion:
        raise AssertionError("recorded motion is not played")

    return System(name, opened, phones=False, key=name)


def named(name: str, weights: Sequence[str] = ()) -> System:
    """The system of that name. weights: NAME=FILE of networks; ValueError for a name that is none."""
    if name in (REAL, MISMATCHED):
        return recorded(name)
    phones = not name.endswith(BY_EAR)
    stem = name.removesuffix(BY_EAR)
    if stem in ("articulation", "articulation-phones"):
        return articulation(phones=phones)
    files = dict(item.split("=", 1) for item in weights)
    parts = re.fullmatch(r"(.+)-([0-9]+)(?:-g([0-9.]+))?", stem)
    if parts is None:
        raise ValueError(f"{name!r} is no system: use real, articulation-phones, articulation-audio, or NAME-STEPS.")
    net, steps, guidance = parts[1], int(parts[2]), float(parts[3] or 0.0)
    return diffusion(net, Path(files[net]) if net in files else None, steps, phones=phones, guidance=guidance)
