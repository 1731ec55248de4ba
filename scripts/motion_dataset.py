"""Clips as the motion network learns from them: features computed once, windows cut at random.

    python -m scripts.motion_dataset --clips /tmp/motion/clips --out /tmp/motion/packed

Every clip is heard once as it is and, in training, once or twice through noise, rooms, telephones and at other levels
(scripts/audio_augment.py). Output: one shard per source and part, float16.

Shape suffixes: T = frames, A = audio features, C = controls, U = ear, D = 52, B = windows.
"""

from __future__ import annotations

import argparse
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.articulation import ARTICULATORS, SPEECH_CHANNELS, to_motion
from avatar.motion.controls import CONTROL_INDEX, EMOTIONS
from avatar.motion.diffusion.features import hide, rows_of, silent_row
from avatar.motion.diffusion.layout import AUDIO, AUDIO_COLUMNS, HEARD_LOOK, LOOK, MAX_LOOK, MAX_NEW, SLOW_D
from avatar.motion.emotion import offset_D, openness
from scripts.audio_augment import augment
from scripts.motion_clips import MotionClip, clip_paths, load_clip

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
VARIANTS: Final = {"grid": 2, "facegood": 2, "teacher": 1}
"""Augmented hearings per source, besides the clean one; others get one."""


def _rows(clip: MotionClip, rng: np.random.Generator | None) -> tuple[Floats, Floats]:
    frames = len(clip.motion_TD)
    rows_TA = np.tile(silent_row(), (frames, 1))
    ear_TA = np.zeros((frames, len(ARTICULATORS)), np.float32)
    for segment in clip.segments:
        pcm_S = segment.pcm_S if rng is None else augment(segment.pcm_S, rng)
        own_TA, own_T9 = rows_of(pcm_S, segment.phones)
        shown = slice(segment.start, segment.start + segment.frames)
        rows_TA[shown] = own_TA[: segment.frames]
        ear_TA[shown] = own_T9[: segment.frames]
    return rows_TA, ear_TA


def _filled(clip: MotionClip, rows_TA: Floats) -> Floats:
    """The motion, with mouth channels that were not observed as the articulation model has them: the past that the
    network sees must not tell what kind of recording it comes from. They still teach nothing themselves."""
    motion_TD = clip.motion_TD.copy()
    missing_D = SPEECH_CHANNELS & ~clip.known_D
    if missing_D.any():
        for motion_D, row_A in zip(motion_TD, rows_TA, strict=True):
            motion_D[missing_D] = to_motion(row_A[AUDIO_COLUMNS["artic"]])[missing_D]
    return motion_TD


def pack(clips: Path, out: Path, sources: list[str] | None, part: int, parts: int) -> None:
    """Write shards SOURCE-{train,held}-PART.npz of every `parts`-th clip."""
    out.mkdir(parents=True, exist_ok=True)
    shards: dict[str, list[dict[str, NDArray[np.generic]]]] = {}
    started, seconds = time.monotonic(), 0.0
    for path in clip_paths(clips, sources)[part::parts]:
        clip = load_clip(path)
        seconds += len(clip.motion_TD) / 25.0
        variants = 0 if clip.held_out else VARIANTS.get(clip.source, 1)
        for variant in range(variants + 1):
            seed = zlib.crc32(f"{clip.source}/{clip.name}/{variant}".encode())
            rows_TA, ear_TA = _rows(clip, np.random.default_rng(seed) if variant else None)
            shards.setdefault(f"{clip.source}-{'held' if clip.held_out else 'train'}", []).append({
                "audio": rows_TA.astype(np.float16),
                "by_ear": ear_TA.astype(np.float16),
                "motion": _filled(clip, rows_TA),
                "controls": clip.controls_TC.astype(np.float16),
                "ear": (clip.ear_TU if clip.ear_TU is not None else np.zeros((len(rows_TA), 4))).astype(np.float16),
                "known": clip.known_D,
            })  # fmt: skip
    for name, rows in shards.items():
        lengths = [len(r["motion"]) for r in rows]
        temporary = out / f"{name}-{part:02d}.tmp.npz"
        np.savez(
            temporary,
            offsets_N=np.cumsum([0, *lengths]),
            known_ND=np.stack([r["known"] for r in rows]),
            **{key: np.concatenate([r[key] for r in rows]) for key in ("audio", "by_ear", "motion", "controls", "ear")},
        )
        temporary.rename(out / f"{name}-{part:02d}.npz")
        print(f"{name}-{part:02d}: {len(rows)} clips, {sum(lengths) / 1500:.1f} min", flush=True)
    print(f"{seconds / 60:.1f} min of clips in {time.monotonic() - started:.0f} s", flush=True)


def _mirror() -> tuple[NDArray[np.int64], Floats]:
    """Left and right exchanged: where each channel comes from, and its sign."""
    source = np.arange(space.DIM)
    sign = np.ones(space.DIM, np.float32)
    for name, i in space.INDEX.items():
        other = name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")
        source[i] = space.INDEX[other]
    for name in ("headYaw", "headRoll", "headX", "gazeAzimuth"):
        sign[space.INDEX[name]] = -1.0
    return source, sign


MIRROR_D, MIRROR_SIGN_D = _mirror()
_C = CONTROL_INDEX
_EMOTION = slice(_C[EMOTIONS[0]], _C[EMOTIONS[-1]] + 1)
_DEG = np.pi / 180.0


@dataclass
class Windows:
    """A batch of windows of one shape; arrays [B, T or N, ...] float32, `past` tokens first.

    motion: the truth of all tokens; known_BD: which channels were observed.
    """

    past: int
    new: int
    look: int
    motion_BTD: Floats
    audio_BTA: Floats
    controls_BTC: Floats
    ear_BTU: Floats
    known_BD: Floats


class MotionData:
    """Packed shards in memory, and random windows of them."""

    def __init__(self, folder: Path, part: str, weights: dict[str, float] | None = None) -> None:
        """part: 'train' or 'held'; weights: share of each source (0 leaves it out), 1 where not named."""
        self.sources: list[str] = []
        self._arrays: list[dict[str, NDArray[np.generic]]] = []
        shares = []
        for path in sorted(folder.glob(f"*-{part}-*.npz")):
            if path.name.endswith(".tmp.npz"):
                continue
            source = path.name.split(f"-{part}-")[0]
            weight = (weights or {}).get(source, 1.0)
            if weight <= 0.0:
                continue
            with np.load(path) as data:
                self._arrays.append({name: data[name] for name in data.files})
            self.sources.append(source)
            shares.append(len(self._arrays[-1]["motion"]) * weight)
        if not shares:
            raise ValueError(f"{folder} holds no {part} shards: run scripts/motion_dataset.py first.")
        self._share = np.array(shares) / np.sum(shares)

    def minutes(self) -> dict[str, float]:
        """Minutes of each source, augmented hearings included."""
        out: dict[str, float] = {}
        for source, arrays in zip(self.sources, self._arrays, strict=True):
            out[source] = out.get(source, 0.0) + len(arrays["motion"]) / 1500
        return out

    def statistics(self, rng: np.random.Generator, batch: int = 1500) -> dict[str, Floats]:
        """The norms of weights.py, from windows as training sees them, and norm.pace.

        norm.pace: how many times smaller a channel's change from frame to frame is than its spread, squared; at
        most 30.
        """
        w = self.windows(rng, batch, past=1, new=MAX_NEW, look=MAX_LOOK)
        known_BTD = np.broadcast_to(w.known_BD[:, None] > 0.0, w.motion_BTD.shape)
        motion_BTD = np.ma.masked_array(w.motion_BTD, ~known_BTD)
        change = np.ma.diff(motion_BTD, axis=1)
        pace_D = motion_BTD.var((0, 1)).filled(1.0) / np.maximum(change.var((0, 1)).filled(1.0), 1e-9)
        audio_TA = w.audio_BTA.reshape(-1, AUDIO)
        heard_TA = audio_TA[
            (audio_TA[:, AUDIO_COLUMNS["flag_speech"]] * audio_TA[:, AUDIO_COLUMNS["flag_heard"]])[:, 0] > 0.5
        ]
        audio_mean_A, audio_scale_A = np.zeros(AUDIO, np.float32), np.ones(AUDIO, np.float32)
        hidden = AUDIO_COLUMNS["hidden"]
        audio_mean_A[hidden] = heard_TA[:, hidden].mean(0)
        audio_scale_A[hidden] = np.maximum(heard_TA[:, hidden].std(0), 0.2)
        scale_D = np.maximum(np.asarray(motion_BTD.std((0, 1)).filled(0.05), np.float32), 0.02)
        gone_BND = (motion_BTD[:, 1:] - motion_BTD[:, :1]) / scale_D
        reach_ND = np.maximum(np.sqrt((gone_BND**2).mean(0).filled(1.0)), 0.02)
        return {
            "norm.mean": np.asarray(motion_BTD.mean((0, 1)).filled(0.0), np.float32),
            "norm.scale": scale_D,
            "norm.reach": np.where(SLOW_D, reach_ND, 1.0).astype(np.float32),
            "norm.pace": np.clip(np.asarray(pace_D, np.float32), 1.0, 30.0),
            "norm.audio_mean": audio_mean_A,
            "norm.audio_scale": audio_scale_A,
        }

    def windows(
        self, rng: np.random.Generator, batch: int, *, past: int, new: int, look: int, train: bool = True,
        phones: bool | None = None,
    ) -> Windows:  # fmt: skip
        """Random windows. train: controls vary, hearing is dropped at random; else the truth as streaming sees it.
        phones: with (True) or without (False) phone times; None: by chance."""
        total = past + new + look
        shards = rng.choice(len(self._arrays), size=batch, p=self._share)
        picked = [self._cut(rng, self._arrays[int(i)], total, past, new, phones, train) for i in shards]
        motion, audio, controls, ear, known = (np.stack([p[i] for p in picked]) for i in range(5))
        out = Windows(past, new, look, motion, audio, controls, ear, known)
        if train:
            for b in range(batch):
                _vary(rng, out, b)
        return out

    def _cut(
        self, rng: np.random.Generator, arrays: dict[str, NDArray[np.generic]], total: int, past: int, new: int,
        phones: bool | None, train: bool,
    ) -> tuple[Floats, Floats, Floats, Floats, Floats]:  # fmt: skip
        offsets = arrays["offsets_N"]
        clip = int(np.searchsorted(offsets, rng.integers(len(arrays["motion"])), side="right") - 1)
        low, high = int(offsets[clip]), int(offsets[clip + 1])
        # Windows may begin before the clip or reach beyond it: the ends repeat, silently.
        start = int(rng.integers(low, max(low + 1, high - total + 1)))
        index_T = np.minimum(np.arange(start, start + total), high - 1)
        beyond_T = np.arange(start, start + total) >= high
        motion_TD = arrays["motion"][index_T].astype(np.float32)
        audio_TA = arrays["audio"][index_T].astype(np.float32)
        audio_TA[beyond_T] = silent_row()
        given = audio_TA[:, AUDIO_COLUMNS["flag_phones"]].any()
        use_phones = bool(given) and (phones if phones is not None else bool(rng.random() < 0.5))
        if given and not use_phones:
            audio_TA[:, AUDIO_COLUMNS["artic"]] = arrays["by_ear"][index_T].astype(np.float32)
            audio_TA[:, AUDIO_COLUMNS["share"]] = 0.0
            audio_TA[:, AUDIO_COLUMNS["flag_phones"]] = 0.0
        self._hide_ahead(audio_TA, past + new, use_phones)
        if train:
            self._lose(rng, audio_TA, past, new)
        controls_TC = arrays["controls"][index_T].astype(np.float32)
        ear_TU = arrays["ear"][index_T].astype(np.float32)
        ear_TU[past:] = ear_TU[max(0, past - 1)]  # nobody knows yet what the visitor will say
        return motion_TD, audio_TA, controls_TC, ear_TU, arrays["known_ND"][clip].astype(np.float32)

    @staticmethod
    def _hide_ahead(audio_TA: Floats, end: int, phones: bool) -> None:
        """What streaming cannot know of the look-ahead (features.py): silent rows stay, they are known."""
        speech_T = audio_TA[:, AUDIO_COLUMNS["flag_speech"]][:, 0] > 0.5
        for token in range(end, len(audio_TA)):
            if speech_T[token]:
                ahead = token - end
                hide(audio_TA[token], heard=ahead >= HEARD_LOOK, artic=ahead >= HEARD_LOOK or not phones)
                if ahead >= LOOK:
                    _unknown(audio_TA[token])

    @staticmethod
    def _lose(rng: np.random.Generator, audio_TA: Floats, past: int, new: int) -> None:
        """Tail-of-audio dropout: from some new frame on nothing is known yet."""
        if rng.random() < 0.12:
            from_token = past + int(rng.integers(0, new + 1))
            for token in range(from_token, len(audio_TA)):
                if audio_TA[token, AUDIO_COLUMNS["flag_speech"]][0] > 0.5:
                    _unknown(audio_TA[token])


def _unknown(row_A: Floats) -> None:
    row_A[:] = 0.0
    row_A[AUDIO_COLUMNS["flag_speech"]] = 1.0


def _vary(rng: np.random.Generator, w: Windows, b: int) -> None:
    """More controls than the recordings have: mirrored faces, other gaze, distance and feelings, with their labels."""
    motion_TD, controls_TC, known_D = w.motion_BTD[b], w.controls_BTC[b], w.known_BD[b]
    if rng.random() < 0.5:
        motion_TD[:] = motion_TD[:, MIRROR_D] * MIRROR_SIGN_D
        known_D[:] = known_D[MIRROR_D]
        controls_TC[:, _C["gazeAzimuth"]] *= -1.0
        controls_TC[:, _C["restRoll"]] *= -1.0
    if rng.random() < 0.3 and known_D[space.GAZE].all():
        offset_2 = rng.uniform((-13.0, -7.0), (13.0, 7.0)) * _DEG
        motion_TD[:, space.GAZE] += offset_2
        controls_TC[:, :2] += offset_2
    if rng.random() < 0.3 and known_D[space.INDEX["headLogScale"]]:
        nearer = rng.uniform(-0.12, 0.12)
        motion_TD[:, space.INDEX["headLogScale"]] += nearer
        controls_TC[:, _C["logScale"]] += nearer
    if rng.random() < 0.4 and not controls_TC[:, _EMOTION].any():
        weights = np.zeros(len(EMOTIONS), np.float32)
        weights[int(rng.integers(len(EMOTIONS)))] = rng.uniform(0.2, 1.0)
        for motion_D in motion_TD:
            motion_D += offset_D(weights, openness(motion_D)) * known_D
        controls_TC[:, _EMOTION] = weights
    motion_TD[:] = np.clip(motion_TD, space.LOW_D, space.HIGH_D)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sources", nargs="*", help="only these")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1, help="share the work: run one process for each part")
    arguments = parser.parse_args()
    pack(arguments.clips, arguments.out, arguments.sources, arguments.part, arguments.parts)


if __name__ == "__main__":
    main()
