"""The clips a motion model learns from: one file each, the same format whatever they were made of.

A clip is a stretch of *display* time at 25 fps. Its motion says what the face did; its speech segments say what
the avatar was saying, each starting on a frame; controls say what was asked for (avatar/motion/controls.py);
`ear_TU` is what the avatar heard of the visitor (avatar/motion/ear.py).

Shape suffixes: T = frames, D = 52, C = controls, U = ear features, S = samples at 24 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES
from avatar.motion import space
from avatar.motion.controls import CONTROLS

Floats = NDArray[np.float32]
EAR_FEATURES = 4


@dataclass
class SpeechSegment:
    """Speech of the avatar. start: its first frame in the clip; frames: how many of its frames were shown (fewer than
    it has when it was interrupted); phones: seconds from its first sample, None when unknown."""

    start: int
    frames: int
    pcm_S: NDArray[np.int16]
    phones: list[TimedPhone] | None = None


@dataclass
class MotionClip:
    """motion_TD: float32 [T, 52]; known_D: which of the 52 were observed (the others teach nothing);
    controls_TC: float32 [T, CONTROLS]; ear_TU: float32 [T, 4], zeros when nobody spoke to the avatar;
    source: 'grid', 'facegood', 'teacher', 'pseudo-libri', ...; name: unique within the source;
    held_out: never train on it; meta: numbers and words for the record."""

    source: str
    name: str
    motion_TD: Floats
    controls_TC: Floats
    segments: list[SpeechSegment]
    known_D: NDArray[np.bool_] = field(default_factory=lambda: np.ones(space.DIM, dtype=bool))
    ear_TU: Floats | None = None
    held_out: bool = False

    def __post_init__(self) -> None:
        frames = len(self.motion_TD)
        assert self.motion_TD.shape == (frames, space.DIM) and np.isfinite(self.motion_TD).all()
        assert self.controls_TC.shape == (frames, CONTROLS) and np.isfinite(self.controls_TC).all()
        for segment in self.segments:
            assert segment.pcm_S.dtype == np.int16 and segment.pcm_S.ndim == 1
            assert segment.start >= 0 and segment.start + segment.frames <= frames
            assert segment.frames <= -(-len(segment.pcm_S) // FRAME_SAMPLES)

    def save(self, folder: Path) -> Path:
        """Write SOURCE/NAME.npz below `folder`."""
        path = folder / self.source / f"{self.name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        phones = [(i, p) for i, s in enumerate(self.segments) for p in (s.phones or [])]
        ear_TU = self.ear_TU if self.ear_TU is not None else np.zeros((len(self.motion_TD), EAR_FEATURES))
        temporary = path.with_suffix(".tmp.npz")
        np.savez(
            temporary,
            motion_TD=self.motion_TD.astype(np.float32),
            known_D=self.known_D,
            controls_TC=self.controls_TC.astype(np.float16),
            ear_TU=ear_TU.astype(np.float16),
            held_out=self.held_out,
            start_N=np.array([s.start for s in self.segments], np.int64),
            frames_N=np.array([s.frames for s in self.segments], np.int64),
            offsets_N=np.cumsum([0] + [len(s.pcm_S) for s in self.segments]),
            pcm_S=np.concatenate([s.pcm_S for s in self.segments] or [np.zeros(0, np.int16)]),
            has_phones_N=np.array([s.phones is not None for s in self.segments], bool),
            phone_segment_P=np.array([i for i, _ in phones], np.int64),
            phone_name_P=np.array([p.phone for _, p in phones], "U4"),
            phone_time_P2=np.array([(p.start_s, p.end_s) for _, p in phones], np.float64).reshape(-1, 2),
        )
        temporary.rename(path)
        return path


def load_clip(path: Path) -> MotionClip:
    """The clip at `path`."""
    with np.load(path) as data:
        z = {name: data[name] for name in data.files}
    segments = []
    for i in range(len(z["start_N"])):
        own = z["phone_segment_P"] == i
        phones = [
            TimedPhone(str(name), float(start), float(end))
            for name, (start, end) in zip(z["phone_name_P"][own], z["phone_time_P2"][own], strict=True)
        ]
        pcm_S = z["pcm_S"][z["offsets_N"][i] : z["offsets_N"][i + 1]]
        known = bool(z["has_phones_N"][i])
        segments.append(SpeechSegment(int(z["start_N"][i]), int(z["frames_N"][i]), pcm_S, phones if known else None))
    return MotionClip(
        source=path.parent.name,
        name=path.stem,
        motion_TD=z["motion_TD"],
        controls_TC=z["controls_TC"].astype(np.float32),
        segments=segments,
        known_D=z["known_D"],
        ear_TU=z["ear_TU"].astype(np.float32),
        held_out=bool(z["held_out"]),
    )


def clip_paths(folder: Path, sources: list[str] | None = None) -> list[Path]:
    """Every clip below `folder`, in a fixed order; `sources` picks some."""
    paths = sorted(p for p in folder.glob("*/*.npz") if not p.name.endswith(".tmp.npz"))
    return [p for p in paths if sources is None or p.parent.name in sources]
