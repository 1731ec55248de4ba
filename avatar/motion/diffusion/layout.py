"""What a token of the motion network carries, and how windows are cut: one place for training and streaming.

One token is one frame (40 ms). A window is `past` frames already shown, `new` frames to make and LOOK frames of audio
look-ahead, which are drafted too. The audio row of a token is AUDIO numbers:

hidden     the viseme network's last layer, two steps of 20 ms
posterior  its 15 viseme probabilities, mean over the frame
artic      the nine articulators of articulation.py, from phone times or from the posteriors
level      loudness against the speaker's running level: mean and maximum of the frame, in units of 20 dB
pitch      octaves above the speaker's running pitch, and whether the frame is voiced
share      the 15 visemes' shares of the frame by phone times (zeros without)
flags      speech (a frame of speech), heard (hidden and posterior are known), artic (artic is known), known (level,
           pitch and share are known), phones (phone times were given)

Shape suffixes: A = AUDIO, C = controls, U = ear features, D = 52, T = tokens.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion.articulation import ARTICULATORS, SPEECH_CHANNELS
from avatar.motion.controls import CONTROL_NAMES, CONTROLS
from avatar.motion.space import DIM

BLOCK: Final = 5
"""Frames made per window when streaming (200 ms)."""
LOOK: Final = 3
"""Frames of audio look-ahead (120 ms): level, pitch and phones of all three; of the network's features one frame."""
HEARD_LOOK: Final = 1
PAST: Final = 10
"""Past frames seen when streaming; training varies 0..MAX_PAST."""
MAX_PAST: Final = 25
MAX_NEW: Final = 50
MAX_LOOK: Final = 5
PHONE_AHEAD_BINS: Final = 8
NET_AHEAD_BINS: Final = 4
"""How far beyond a frame's end (10 ms bins) its articulators look, by phone times and by the network."""

HIDDEN: Final = 288
VISEME_COUNT: Final = 15

_PARTS: Final = (
    ("hidden", HIDDEN), ("posterior", VISEME_COUNT), ("artic", len(ARTICULATORS)), ("level", 2), ("pitch", 2),
    ("share", VISEME_COUNT), ("flag_speech", 1), ("flag_heard", 1), ("flag_artic", 1), ("flag_known", 1),
    ("flag_phones", 1),
)  # fmt: skip


def _columns() -> dict[str, slice]:
    out, at = {}, 0
    for name, width in _PARTS:
        out[name] = slice(at, at + width)
        at += width
    return out


AUDIO_COLUMNS: Final[dict[str, slice]] = _columns()
AUDIO: Final = sum(width for _, width in _PARTS)
EAR: Final = 4
ROLES: Final = 3
"""One-hot: past, new, look-ahead."""
TOKEN_INPUTS: Final = DIM + AUDIO + CONTROLS + EAR + ROLES
PACE_GAIN: Final = 8.0
"""Past tokens also carry how much (normalised) motion changed since the frame before, times this; tokens to predict
carry how far their slow channels have gone from the last past frame, in units of `norm.reach` (weights.py)."""
LAYER_INPUTS: Final = TOKEN_INPUTS + DIM
"""Width of the first layer: what a token is given, and its change."""
AHEAD: Final = MAX_NEW + MAX_LOOK
"""Most tokens to predict."""
POSITIONS: Final = MAX_PAST + AHEAD
"""Positions count from the first new frame; index MAX_PAST is that frame."""

SLOW_D: Final[NDArray[np.bool_]] = ~SPEECH_CHANNELS
"""Channels whose noise is smooth in time: head, gaze, brows and lids move slowly against their range, and
a network that starts from white noise leaves some of its jitter behind. Lips start from white noise."""

NOISE_FRAMES: Final = 1.6
"""Standard deviation of the low-pass. Chosen by what it makes of a head: with 3, whole turns came out as wide as filmed
ones and small, quick movements half as large (docs/models/motion.md)."""
NOISE_TAPS: Final = 17


def _kernel() -> NDArray[np.float32]:
    taps = np.exp(-0.5 * ((np.arange(NOISE_TAPS) - NOISE_TAPS // 2) / NOISE_FRAMES) ** 2)
    unit: NDArray[np.float32] = (taps / np.sqrt((taps**2).sum())).astype(np.float32)
    return unit


NOISE_KERNEL: Final[NDArray[np.float32]] = _kernel()
"""Low-pass of unit power (a Gaussian of NOISE_FRAMES): a frame's noise is the taps over white noise from it on."""


def smooth_noise(white_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise for N frames from white noise [N + NOISE_TAPS - 1, 52]; standard normal in every frame and channel."""
    count = len(white_ND) - NOISE_TAPS + 1
    out_ND = white_ND[:count].copy()
    taps_ND = np.lib.stride_tricks.sliding_window_view(white_ND[:, SLOW_D], NOISE_TAPS, axis=0) @ NOISE_KERNEL
    out_ND[:, SLOW_D] = taps_ND
    return out_ND


_GAINS: Final = {"gaze": 5.0, "logScale": 8.0, "rest": 4.0}
CONTROL_GAIN: Final[NDArray[np.float32]] = np.array(
    [next((gain for stem, gain in _GAINS.items() if name.startswith(stem)), 1.0) for name in CONTROL_NAMES], np.float32
)
"""What controls are multiplied by on their way into the network, float32 [C]: brings them all to about 0..1."""
