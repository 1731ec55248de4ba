"""Play a clip's speech through a source of motion, frame by frame on the display timeline, as a live session does.

Shape suffixes: T = frames, D = 52, C = controls, S = samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion.controls import CONTROL_INDEX, EMOTIONS, STATES, Asked
from avatar.motion.protocol import Motion
from avatar.motion.state import State
from scripts.evaluate.metrics.lips import Lips, lip_rig
from scripts.evaluate.systems import MISMATCHED, REAL, System
from scripts.motion_clips import MotionClip

Floats = NDArray[np.float32]

_SETTLE: Final = 25
"""Frames before a session's first clip: the visitor has been looked at for a second, what is asked has been gone to."""
_BETWEEN: Final = 10
"""Idle frames between the clips of one session."""
_FORMAT: Final = "4"
"""Part of every cache key: change it when playing changes."""
_STATE_COLUMNS: Final = [CONTROL_INDEX[name] for name in STATES]


@dataclass(frozen=True)
class Shown:
    """What a system showed for a clip, and its lips in mm."""

    clip: MotionClip
    motion_TD: Floats
    lips: Lips


def asked_of(clip: MotionClip) -> Asked:
    """What was asked in a clip: the median of each of its controls."""
    middle_C = np.median(clip.controls_TC, axis=0)

    def value(name: str) -> float:
        return float(middle_C[CONTROL_INDEX[name]])

    return Asked(
        gaze_azimuth_deg=np.degrees(value("gazeAzimuth")),
        gaze_elevation_deg=np.degrees(value("gazeElevation")),
        distance=float(np.exp(-value("logScale"))),
        **{name: value(name) for name in EMOTIONS},
        liveliness=value("liveliness"),
        rest_smile=value("restSmile"),
        rest_brow_inner_up=value("restBrowInnerUp"),
        rest_brow_down=value("restBrowDown"),
        rest_squint=value("restSquint"),
        rest_jaw_open=value("restJawOpen"),
        rest_roll_deg=np.degrees(value("restRoll")),
    )


def perform(stream: Motion, clip: MotionClip, *, phones: bool) -> Floats:
    """Motion [T, 52] of one clip: states as in its controls, each segment pushed when it starts, cleared when cut off.

    The whole segment is pushed at once, as from a synthesiser that is faster than speech; a source that looks no
    further ahead than it may gives the same for audio in real time (`python -m scripts.evaluate motion` checks that).
    """
    frames = len(clip.motion_TD)
    begins = {segment.start: segment for segment in clip.segments}
    cuts = {s.start + s.frames for s in clip.segments if s.frames < -(-len(s.pcm_S) // 960)}
    state_T = clip.controls_TC[:, _STATE_COLUMNS].argmax(1)
    motion_TD = np.empty((frames, clip.motion_TD.shape[1]), np.float32)
    for t in range(frames):
        if t == 0 or state_T[t] != state_T[t - 1]:
            stream.set_state(State(STATES[int(state_T[t])]))
        if t in cuts:
            stream.clear()
        if t in begins:
            stream.push_audio(begins[t].pcm_S, begins[t].phones if phones else None)
            stream.end_segment()
        motion_TD[t] = stream.next_motion()
    if frames in cuts:
        stream.clear()
    return motion_TD


def sessions(clips: Sequence[MotionClip], size: int = 10) -> list[list[MotionClip]]:
    """Clips that ask for the same, in runs of at most `size`: short clips are played back to back in one session."""
    out: list[list[MotionClip]] = []
    for clip in clips:
        short = len(clip.motion_TD) <= 150
        fits = out and short and len(out[-1]) < size and len(out[-1][-1].motion_TD) <= 150
        if fits and out[-1][-1].source == clip.source and asked_of(out[-1][-1]) == asked_of(clip):
            out[-1].append(clip)
        else:
            out.append([clip])
    return out


class Player:
    """Plays clips through systems and remembers the results in a folder."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache

    def show(self, system: System, clips: Sequence[MotionClip]) -> list[Shown]:
        """What `system` makes of the clips, in their order; the seed comes from the first clip's name."""
        return [shown for session in sessions(clips) for shown in self._session(system, session)]

    def _session(self, system: System, clips: Sequence[MotionClip]) -> list[Shown]:
        digest = hashlib.sha256(f"{_FORMAT}|{system.key}|{system.phones}".encode())
        for clip in clips:
            digest.update(clip_digest(clip).encode())
        path = self._cache / f"{digest.hexdigest()[:40]}.npz" if self._cache is not None else None
        if path is not None and path.exists():
            with np.load(path) as stored:
                return [
                    Shown(c, stored[f"motion{i}"], Lips(*(stored[f"{n}{i}"] for n in ("points", "gap", "width"))))
                    for i, c in enumerate(clips)
                ]
        seed = int(hashlib.sha256(clips[0].name.encode()).hexdigest()[:8], 16)
        stream = None
        if system.name not in (REAL, MISMATCHED):
            stream = system.open(seed)
            stream.set_controls(asked_of(clips[0]))
        out = []
        for i, clip in enumerate(clips):
            if stream is None:
                motion_TD = clip.motion_TD
            else:
                for _ in range(_BETWEEN if i else _SETTLE):
                    stream.next_motion()
                motion_TD = perform(stream, clip, phones=system.phones)
            out.append(Shown(clip, motion_TD, lip_rig().lips(motion_TD)))
        if path is not None:
            store(path, out)
        return out


def store(path: Path, shown: Sequence[Shown]) -> None:
    """Write one session, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[np.float32]] = {}
    for i, one in enumerate(shown):
        arrays |= {f"motion{i}": one.motion_TD, f"points{i}": one.lips.points_TN3}
        arrays |= {f"gap{i}": one.lips.gap_T, f"width{i}": one.lips.width_T}
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    temporary.rename(path)


def clip_digest(clip: MotionClip) -> str:
    """Digest of a clip's contents."""
    digest = hashlib.sha256(clip.motion_TD.tobytes() + clip.controls_TC.tobytes() + clip.known_D.tobytes())
    for segment in clip.segments:
        digest.update(f"{segment.start} {segment.frames} {segment.phones}".encode() + segment.pcm_S.tobytes())
    return digest.hexdigest()


def mismatched(clips: Iterable[MotionClip]) -> list[MotionClip]:
    """Each clip with the motion of the next one of its source (cut or held to length): the same life, wrong words."""
    by_source: dict[str, list[MotionClip]] = {}
    for clip in clips:
        by_source.setdefault(clip.source, []).append(clip)
    out = []
    for group in by_source.values():
        for i, clip in enumerate(group):
            other_TD = group[(i + 1) % len(group)].motion_TD
            if len(group) == 1:
                other_TD = np.roll(other_TD, len(other_TD) // 2, axis=0)
            index_T = np.minimum(np.arange(len(clip.motion_TD)), len(other_TD) - 1)
            out.append(
                MotionClip(
                    clip.source, clip.name, other_TD[index_T], clip.controls_TC, clip.segments, clip.known_D,
                    clip.ear_TU, clip.held_out,
                )
            )  # fmt: skip
    return out
