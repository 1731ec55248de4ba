"""From what is being said to where jaw, lips and tongue are.

Every phone has a target for each of nine articulators and a dominance that says how much it insists on
it. Overlapping dominances are blended as in M. M. Cohen and D. W. Massaro, "Modeling coarticulation in
synthetic visual speech" (1993): value(t) = sum_i D_i(t) T_i / sum_i D_i(t), where the dominance D_i of
segment i falls off exponentially before and after it. Here the segments are rows of unit activations on
a 10 ms grid, so that exact phone times and the posteriors of a viseme network take the same road.

Shape suffixes: B = 10 ms bins, U = units (phones, then visemes), A = articulators, D = 52.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import PHONE_TO_VISEME, PHONES, VISEMES, TimedPhone
from avatar.audio.rows import Rows
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space

Floats = NDArray[np.float32]

BIN_SAMPLES: Final = STREAM_RATE // 100
"""Samples of one 10 ms bin."""
BINS_PER_FRAME: Final = FRAME_SAMPLES // BIN_SAMPLES

ARTICULATORS: Final = ("jaw", "closure", "labiodental", "round", "funnel", "spread", "upper", "lower", "tongue")
"""jaw: opening in jawOpen units; closure: lips sealed; labiodental: lower lip at the upper teeth;
round: protruded and narrow; funnel: protruded and open; spread: corners apart; upper, lower: lip raised,
lowered off the teeth; tongue: tip height."""

# Anticipation and carry-over of each articulator in seconds: lips round early and let go late, closures are brief.
_BEFORE_S: Final = (0.050, 0.014, 0.016, 0.070, 0.050, 0.055, 0.040, 0.045, 0.030)
_AFTER_S: Final = (0.045, 0.012, 0.016, 0.055, 0.045, 0.050, 0.035, 0.040, 0.030)

PAST_BINS: Final = 24
AHEAD_BINS: Final = 15
"""How far ahead of a frame's end the blending looks when phone times are known (150 ms)."""
_BLUR_BINS: Final = 2

# Targets: jaw, closure, labiodental, round, funnel, spread, upper, lower, tongue.
_TARGETS: Final[dict[str, tuple[float, ...]]] = {
    "sil": (0.00, 0.0, 0.0, 0.00, 0.00, 0.00, 0.00, 0.00, 0.2),
    "P": (0.03, 1.0, 0.0, 0.05, 0.00, 0.00, 0.00, 0.00, 0.2),
    "B": (0.04, 1.0, 0.0, 0.05, 0.00, 0.00, 0.00, 0.00, 0.2),
    "M": (0.03, 1.0, 0.0, 0.05, 0.00, 0.00, 0.00, 0.00, 0.2),
    "F": (0.11, 0.0, 1.0, 0.00, 0.00, 0.05, 0.48, 0.00, 0.2),
    "V": (0.11, 0.0, 1.0, 0.00, 0.00, 0.05, 0.44, 0.00, 0.2),
    "TH": (0.10, 0.0, 0.0, 0.00, 0.05, 0.10, 0.12, 0.22, 0.9),
    "DH": (0.10, 0.0, 0.0, 0.00, 0.05, 0.10, 0.12, 0.22, 0.9),
    "T": (0.07, 0.0, 0.0, 0.00, 0.00, 0.15, 0.10, 0.22, 1.0),
    "D": (0.08, 0.0, 0.0, 0.00, 0.00, 0.12, 0.10, 0.22, 1.0),
    "N": (0.09, 0.0, 0.0, 0.00, 0.00, 0.12, 0.10, 0.20, 1.0),
    "L": (0.14, 0.0, 0.0, 0.00, 0.00, 0.08, 0.10, 0.20, 1.0),
    "S": (0.03, 0.0, 0.0, 0.00, 0.05, 0.30, 0.16, 0.34, 0.8),
    "Z": (0.04, 0.0, 0.0, 0.00, 0.05, 0.28, 0.16, 0.32, 0.8),
    "SH": (0.05, 0.0, 0.0, 0.40, 0.46, 0.00, 0.10, 0.12, 0.7),
    "ZH": (0.06, 0.0, 0.0, 0.40, 0.44, 0.00, 0.10, 0.12, 0.7),
    "CH": (0.05, 0.0, 0.0, 0.36, 0.45, 0.00, 0.10, 0.12, 0.8),
    "JH": (0.06, 0.0, 0.0, 0.36, 0.42, 0.00, 0.10, 0.12, 0.8),
    "K": (0.11, 0.0, 0.0, 0.00, 0.00, 0.08, 0.08, 0.15, 0.3),
    "G": (0.11, 0.0, 0.0, 0.00, 0.00, 0.08, 0.08, 0.15, 0.3),
    "NG": (0.11, 0.0, 0.0, 0.00, 0.00, 0.08, 0.08, 0.15, 0.3),
    "HH": (0.15, 0.0, 0.0, 0.00, 0.00, 0.05, 0.08, 0.15, 0.3),
    "R": (0.09, 0.0, 0.0, 0.40, 0.26, 0.00, 0.05, 0.08, 0.5),
    "ER": (0.13, 0.0, 0.0, 0.28, 0.26, 0.00, 0.05, 0.10, 0.5),
    "W": (0.03, 0.0, 0.0, 0.90, 0.10, 0.00, 0.00, 0.00, 0.2),
    "Y": (0.07, 0.0, 0.0, 0.00, 0.00, 0.50, 0.10, 0.22, 0.6),
    "AA": (0.36, 0.0, 0.0, 0.00, 0.08, 0.08, 0.12, 0.22, 0.0),
    "AE": (0.32, 0.0, 0.0, 0.00, 0.00, 0.38, 0.20, 0.30, 0.2),
    "AH": (0.21, 0.0, 0.0, 0.00, 0.05, 0.10, 0.10, 0.20, 0.2),
    "AO": (0.29, 0.0, 0.0, 0.25, 0.45, 0.00, 0.05, 0.10, 0.1),
    "EH": (0.23, 0.0, 0.0, 0.00, 0.00, 0.36, 0.16, 0.28, 0.3),
    "IH": (0.14, 0.0, 0.0, 0.00, 0.00, 0.38, 0.13, 0.26, 0.5),
    "IY": (0.09, 0.0, 0.0, 0.00, 0.00, 0.62, 0.14, 0.30, 0.6),
    "OW": (0.20, 0.0, 0.0, 0.55, 0.40, 0.00, 0.03, 0.06, 0.1),
    "UH": (0.13, 0.0, 0.0, 0.50, 0.30, 0.00, 0.03, 0.06, 0.2),
    "UW": (0.06, 0.0, 0.0, 0.95, 0.15, 0.00, 0.00, 0.00, 0.2),
}

# A diphthong is two targets; the first lasts this share of the phone.
_DIPHTHONGS: Final[dict[str, tuple[str, str, float]]] = {
    "AW": ("AA", "UH", 0.60),
    "AY": ("AA", "IH", 0.60),
    "EY": ("EH", "IY", 0.45),
    "OW": ("OW", "UW", 0.55),
    "OY": ("AO", "IH", 0.55),
}


def _dominance(phone: str) -> tuple[float, ...]:
    """How much a phone insists on each articulator's target (the alpha of Cohen and Massaro)."""
    jaw, closure, labiodental, rounding, funnel, spread, upper, lower, tongue = (1.0,) * 9
    if phone == "sil":
        return (0.8, 0.6, 0.6, 0.35, 0.35, 0.35, 0.5, 0.5, 0.3)
    if phone in {"P", "B", "M"}:
        jaw, closure, rounding, funnel, spread, upper, lower, tongue = 1.6, 4.0, 0.25, 0.4, 0.3, 2.0, 2.0, 0.3
    elif phone in {"F", "V"}:
        jaw, labiodental, rounding, funnel, spread, upper, lower, tongue = 1.8, 4.0, 0.3, 0.6, 0.4, 2.0, 2.0, 0.3
    elif phone in {"S", "Z"}:
        jaw, rounding, funnel, spread, tongue = 2.6, 0.4, 0.5, 0.6, 2.0
    elif phone in {"SH", "ZH", "CH", "JH"}:
        jaw, rounding, funnel, spread, tongue = 2.6, 1.2, 2.6, 1.6, 1.5
    elif phone in {"T", "D", "N", "L", "TH", "DH"}:
        jaw, rounding, funnel, spread, tongue = 1.2, 0.25, 0.3, 0.35, 4.0
    elif phone in {"K", "G", "NG", "HH"}:
        jaw, rounding, funnel, spread, upper, lower, tongue = 0.5, 0.2, 0.2, 0.2, 0.3, 0.3, 0.8
    elif phone in {"W", "UW"}:
        jaw, rounding, funnel, spread, lower, upper = 2.2, 3.5, 1.5, 2.5, 2.0, 2.0
    elif phone in {"OW", "AO", "UH"}:
        rounding, funnel, spread = 2.0, 2.0, 2.0
    elif phone in {"R", "ER"}:
        rounding, funnel, spread = 1.2, 1.4, 1.2
    elif phone in {"IY", "Y"}:
        rounding, funnel, spread = 1.8, 1.8, 2.0
    return (jaw, closure, labiodental, rounding, funnel, spread, upper, lower, tongue)


_VISEME_MEMBERS: Final[dict[str, tuple[str, ...]]] = {
    viseme: tuple(phone for phone, to in PHONE_TO_VISEME.items() if to == viseme and phone in _TARGETS)
    for viseme in VISEMES
}

UNITS: Final[tuple[str, ...]] = (*_TARGETS, *(f"viseme:{name}" for name in VISEMES))
_UNIT_INDEX: Final = {unit: i for i, unit in enumerate(UNITS)}
FIRST_VISEME_UNIT: Final = len(_TARGETS)
SIL_UNIT: Final = _UNIT_INDEX["sil"]


_HEARD_CLOSURE: Final = 2.5
"""Shows 85 % instead of 75 % of the GRID speaker's closures, for 2 % more frames closed by mistake."""


def _tables() -> tuple[Floats, Floats]:
    """Targets and dominances [U, A]; a viseme is the mean of its phones."""
    target_UA = [_TARGETS[phone] for phone in _TARGETS]
    alpha_UA = [_dominance(phone) for phone in _TARGETS]
    for viseme in VISEMES:
        members = _VISEME_MEMBERS[viseme]
        weight_MA = np.array([_dominance(m) for m in members])
        target_MA = np.array([_TARGETS[m] for m in members])
        alpha_UA.append(tuple(weight_MA.mean(0)))
        target_UA.append(tuple((target_MA * weight_MA).sum(0) / weight_MA.sum(0)))
        if viseme == "PP":  # heard closures come out shorter than spoken ones
            alpha_UA[-1] = tuple(a * _HEARD_CLOSURE if i == 1 else a for i, a in enumerate(alpha_UA[-1]))
    return np.array(target_UA, dtype=np.float32), np.array(alpha_UA, dtype=np.float32)


TARGET_UA, ALPHA_UA = _tables()


def split_diphthongs(phones: Iterable[TimedPhone]) -> list[TimedPhone]:
    """Phones with every diphthong replaced by its two targets."""
    out: list[TimedPhone] = []
    for item in phones:
        if item.phone in _DIPHTHONGS:
            first, second, share = _DIPHTHONGS[item.phone]
            middle = item.start_s + share * (item.end_s - item.start_s)
            out += [TimedPhone(first, item.start_s, middle), TimedPhone(second, middle, item.end_s)]
        else:
            out.append(item)
    return out


class UnitTrack:
    """Unit activations per 10 ms bin, summing to one where anything is known."""

    def __init__(self) -> None:
        self.rows = Rows(len(UNITS))

    def add_phones(self, phones: Iterable[TimedPhone], origin_sample: int) -> None:
        """Lay phones on the grid; their times count from `origin_sample` of the speech timeline."""
        origin_bin = origin_sample / BIN_SAMPLES
        for item in split_diphthongs(phones):
            first = max(origin_bin + item.start_s * 100.0, float(self.rows.start))
            last = origin_bin + item.end_s * 100.0
            if last <= first:
                continue
            low, high = int(np.floor(first)), int(np.ceil(last))
            self.rows.extend_to(high)
            edges = np.arange(low, high)
            share_B = np.minimum(edges + 1, last) - np.maximum(edges, first)
            self.rows.view(low, high)[:, _UNIT_INDEX[item.phone]] += share_B

    def add_visemes(self, posterior_BV: Floats, first_bin: int) -> None:
        """Lay the viseme network's posteriors [bins, 15] on the grid."""
        last = first_bin + len(posterior_BV)
        self.rows.extend_to(last)
        self.rows.view(first_bin, last)[:, FIRST_VISEME_UNIT:] += posterior_BV

    def window(self, first: int, last: int, *, known: int, silent_after: bool) -> Floats:
        """Activations of bins [first, last), float32 [bins, U].

        Bins below `known` are completed with silence to a sum of one. Bins from `known` on are unknown
        (zeros: the blend then rests on what is known) or, with `silent_after`, silence.
        """
        window_BU = self.rows.window(first, last)
        total_B = window_BU.sum(1)
        over_B = total_B > 1.0
        window_BU[over_B] /= total_B[over_B, None]
        index_B = np.arange(first, last)
        inside_B = (index_B >= 0) & ((index_B < known) | silent_after)
        window_BU[inside_B, SIL_UNIT] += np.maximum(0.0, 1.0 - total_B[inside_B])
        window_BU[~inside_B] = 0.0
        return window_BU


def _kernels() -> Floats:
    """FIR weights [A, frame bins + 2 blur, window bins] of the two-sided exponential dominances."""
    out_bins = np.arange(-_BLUR_BINS, BINS_PER_FRAME + _BLUR_BINS)
    in_bins = np.arange(-PAST_BINS, BINS_PER_FRAME + AHEAD_BINS)
    lag_s = (in_bins[None, :] - out_bins[:, None]) / 100.0
    kernels = [
        np.where(lag_s > 0, np.exp(-lag_s / before), np.exp(lag_s / after))
        for before, after in zip(_BEFORE_S, _AFTER_S, strict=True)
    ]
    return np.array(kernels, dtype=np.float32)


_KERNEL_ABW: Final = _kernels()
_HANN_B = np.hanning(BINS_PER_FRAME + 2 * _BLUR_BINS + 2)[1:-1]
_BLUR_B: Final = (_HANN_B / _HANN_B.sum()).astype(np.float32)
_CLOSURES: Final = [ARTICULATORS.index("closure"), ARTICULATORS.index("labiodental")]


def blend(activation_BU: Floats) -> Floats:
    """Articulator values of one frame, float32 [A].

    activation_BU: units of the bins [first bin of the frame - PAST_BINS, last bin + AHEAD_BINS].
    Closures take the second greatest bin of the frame, so that a 25 fps picture misses none of 30 ms or
    more and yet a short vowel between two of them opens; they are full up to the phone's edges. The other
    articulators are averaged over the frame.
    """
    weight_BA = activation_BU @ ALPHA_UA
    pull_BA = activation_BU @ (ALPHA_UA * TARGET_UA)
    weight = np.einsum("abw,wa->ba", _KERNEL_ABW, weight_BA) + 1e-3
    value_BA = np.einsum("abw,wa->ba", _KERNEL_ABW, pull_BA) / weight
    value_A: Floats = (_BLUR_B @ value_BA).astype(np.float32)
    inner_BC = np.sort(value_BA[_BLUR_BINS:-_BLUR_BINS, _CLOSURES], axis=0)
    value_A[_CLOSURES] = np.clip((inner_BC[-2] - 0.5) / 0.3, 0.0, 1.0)
    return value_A


_I: Final = space.INDEX


def _pair(motion_D: Floats, stem: str, value: float) -> None:
    motion_D[_I[stem + "Left"]] += value
    motion_D[_I[stem + "Right"]] += value


def to_motion(value_A: Floats, loudness: float = 1.0) -> Floats:
    """Articulators as motion channels, float32 [52], zero outside jaw, lips, cheeks and tongue.

    loudness: about 0.55 (whispered) .. 1.35 (shouted); scales how far jaw and lips move, never closures or
    the lower lip at the teeth.
    Sealed lips are `mouthClose == jawOpen` (the lips stay together although the jaw is open).
    """
    jaw, closure, labio, rounding, funnel, spread, upper, lower, tongue = (float(v) for v in value_A)
    free = (1.0 - closure) * (1.0 - labio)
    loudness = labio + (1.0 - labio) * loudness
    motion_D = space.neutral()
    jaw_open = min(0.6, jaw * loudness)
    motion_D[_I["jawOpen"]] = jaw_open
    motion_D[_I["mouthClose"]] = jaw_open * closure
    motion_D[_I["mouthPucker"]] = rounding * (1.0 - 0.5 * labio)
    motion_D[_I["mouthFunnel"]] = funnel * free
    motion_D[_I["mouthRollLower"]] = 0.22 * closure + 0.70 * labio
    motion_D[_I["mouthRollUpper"]] = 0.16 * closure
    motion_D[_I["mouthShrugLower"]] = 0.10 * closure
    _pair(motion_D, "mouthPress", 0.30 * closure)
    _pair(motion_D, "mouthStretch", 0.45 * spread)
    _pair(motion_D, "mouthSmile", 0.22 * spread)
    _pair(motion_D, "mouthUpperUp", upper * loudness * (1.0 - closure))
    _pair(motion_D, "mouthLowerDown", lower * loudness * free)
    _pair(motion_D, "cheekSquint", 0.10 * spread)
    motion_D[_I["tongueHeight"]] = tongue * min(1.0, jaw_open / 0.03 + 0.0)
    return motion_D


SPEECH_CHANNELS: Final = np.array([name.startswith(("jaw", "mouth", "cheek", "tongue")) for name in space.NAMES])
"""Which of the 52 the lips' closing concerns, bool [52]."""
assert set(_TARGETS) | set(_DIPHTHONGS) == set(PHONES)
