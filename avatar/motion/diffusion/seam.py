"""Where one window meets the next: the same noise for the same frame, and a short cross-fade.

Every window drafts a few frames beyond those it is made for. The next window makes them again, knowing more; the two
are blended over those frames, so that no window's edge can be told from its inside. When the plan changes (speech
starts, is interrupted ...), what is left of the old window is the draft.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.articulation import SPEECH_CHANNELS
from avatar.motion.controls import Asked
from avatar.motion.diffusion.layout import NOISE_TAPS, smooth_noise
from avatar.motion.emotion import activity, dynamics, offset_D

Floats = NDArray[np.float32]

FADE_FRAMES: Final = 3
LIPS_FADE_FRAMES: Final = 1
"""Lips are drafted with less sound than they are made with; they change over at once."""
_FRAMES: Final = 1 << 63
"""Frames are numbered modulo this."""


class FrameNoise:
    """Standard normal numbers of each display frame, whatever window asks for them."""

    def __init__(self, seed: int) -> None:
        self._key = np.random.SeedSequence(seed).generate_state(2, np.uint64)

    def rows(self, first: int, last: int) -> Floats:
        """Rows of the display frames [first, last), float32 [.., 52]: counter-based, so any frame costs the same.
        Frames may be negative."""
        return smooth_noise(self._white(first, last + NOISE_TAPS - 1))

    def _white(self, first: int, last: int) -> Floats:
        rows = [
            np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, frame % _FRAMES, 0])).standard_normal(
                space.DIM, np.float32
            )
            for frame in range(first, last)
        ]
        return np.stack(rows)


def _weights() -> Floats:
    """Share of the new window in its first frames, float32 [FADE_FRAMES, 52]."""
    frames_D = np.where(SPEECH_CHANNELS, LIPS_FADE_FRAMES, FADE_FRAMES)
    share_FD = np.minimum((np.arange(FADE_FRAMES)[:, None] + 1) / (frames_D + 1), 1.0)
    smooth_FD: Floats = (share_FD * share_FD * (3.0 - 2.0 * share_FD)).astype(np.float32)
    return smooth_FD


_SHARE_FD: Final = _weights()


def cross_fade(new_ND: Floats, draft_ND: Floats, same_N: NDArray[np.bool_]) -> Floats:
    """The new window's frames, blended with the drafts of the same frames where there are any.

    same_N: whether a frame is speech in both or in neither; else the draft has nothing to say about the lips, whose
    continuity guard.py sees to.
    """
    frames = min(FADE_FRAMES, len(draft_ND), len(new_ND))
    share_FD = np.where(SPEECH_CHANNELS & ~same_N[:frames, None], 1.0, _SHARE_FD[:frames])
    out_ND = new_ND.copy()
    out_ND[:frames] = draft_ND[:frames] + share_FD * (new_ND[:frames] - draft_ND[:frames])
    return out_ND


_HEAD_TAPS: Final = np.array([1.0, 6.0, 1.0], np.float32) / 8.0
"""Halves what changes its direction with every frame; then a head's jerk is that of a filmed one."""


def steady_head(window_ND: Floats, shown_D: Floats) -> None:
    """Take tremor, which comes from the seams, out of the head, in place.

    shown_D: the frame shown before; beyond the window its last frame repeats.
    """
    joined_ND = np.concatenate([shown_D[None, space.HEAD], window_ND[:, space.HEAD], window_ND[-1:, space.HEAD]])
    views_NKW = np.lib.stride_tricks.sliding_window_view(joined_ND, len(_HEAD_TAPS), axis=0)
    window_ND[:, space.HEAD] = views_NKW @ _HEAD_TAPS


HEAD_PULL, BROW_PULL = 0.015, 0.02
"""Share of its way home that head or brows are taken every frame. The network brings back what has strayed; this keeps
its slow drift to the size of a filmed one."""


def _homing() -> Floats:
    rate_D = np.zeros(space.DIM, np.float32)
    for i, name in enumerate(space.NAMES):
        if name.startswith(("brow", "eyeSquint", "eyeWide", "nose")):
            rate_D[i] = BROW_PULL
    rate_D[space.HEAD] = HEAD_PULL
    return rate_D


HOMING_D: Final = _homing()
"""The share of each channel, float32 [52]."""


def face_at_rest(asked: Asked) -> Floats:
    """Where head, brows and eyes are drawn to: what is asked of distance, resting style and emotions, float32 [52]."""
    rest_D = offset_D(asked.emotion_weights())
    rest_D[space.INDEX["headRoll"]] += np.radians(asked.rest_roll_deg)
    rest_D[space.INDEX["headLogScale"]] -= np.log(asked.distance)
    rest_D[space.INDEX["browInnerUp"]] += asked.rest_brow_inner_up
    for side in ("Left", "Right"):
        rest_D[space.INDEX["browDown" + side]] += asked.rest_brow_down
        rest_D[space.INDEX["eyeSquint" + side]] += asked.rest_squint
    return space.clamp(rest_D)[0]


def draw_home(window_ND: Floats, home_D: Floats) -> None:
    """Take a window's frames towards home, in place: the first by one frame's share, the next by two frames' ..."""
    share_ND = 1.0 - (1.0 - HOMING_D) ** (np.arange(len(window_ND), dtype=np.float32)[:, None] + 1.0)
    window_ND += share_ND * (home_D - window_ND)


HEAD_SPREAD, BROW_SPREAD = 1.05, 1.0
"""Spread of the noise of head and brows at the usual liveliness."""
_BROWS: Final = [i for i, name in enumerate(space.NAMES) if name.startswith("brow")]


def spread(asked: Asked) -> Floats:
    """What a window's noise is multiplied by, float32 [52]: liveliness and emotions set how far head and brows go.

    The network was shown liveliness, but learned to heed it only in the face; one step is all but linear in its noise.
    """
    manner, lively = dynamics(asked.emotion_weights()), activity(asked.liveliness)
    out_D = np.ones(space.DIM, np.float32)
    out_D[space.HEAD] = HEAD_SPREAD * lively * manner.head
    out_D[_BROWS] = BROW_SPREAD * lively * manner.brows
    return out_D
