"""Lips do what phones need, when they need it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.audio.phones import PHONES, TimedPhone, normalise_phone
from avatar.clock import FPS, STREAM_RATE
from avatar.motion import space
from avatar.motion.articulation import AHEAD_BINS, BINS_PER_FRAME, PAST_BINS, UnitTrack, blend, to_motion

I = space.INDEX  # noqa: E741  (short on purpose: it stands in every line)


def spoken(phones: list[TimedPhone]) -> NDArray[np.float32]:
    """Motion [T, 52] of phones at the speaker's usual loudness."""
    track = UnitTrack()
    track.add_phones(phones, 0)
    frames = int(np.ceil(phones[-1].end_s * FPS)) + 5
    rows = []
    for k in range(frames):
        first = k * BINS_PER_FRAME
        window = track.window(
            first - PAST_BINS, first + BINS_PER_FRAME + AHEAD_BINS, known=frames * BINS_PER_FRAME, silent_after=True
        )
        rows.append(to_motion(blend(window)))
    return np.stack(rows)


def sequence(*items: tuple[str, float], start_s: float = 0.0) -> list[TimedPhone]:
    phones, at = [], start_s
    for phone, length_s in items:
        phones.append(TimedPhone(phone, at, at + length_s))
        at += length_s
    return phones


def frames_inside(item: TimedPhone) -> slice:
    """Frames whose middle lies in the phone, widened to the nearest one."""
    first, last = item.start_s * FPS - 0.5, item.end_s * FPS - 0.5
    return slice(max(0, int(np.floor(first))), int(np.ceil(last)) + 1)


OTHERS = [p for p in PHONES if p not in {"P", "B", "M"}]


@given(
    before=st.sampled_from(OTHERS),
    after=st.sampled_from(OTHERS),
    closure=st.sampled_from(["P", "B", "M"]),
    length_s=st.floats(0.03, 0.15),
    start_s=st.floats(0.0, 0.04),
)
@settings(max_examples=150, deadline=None)
def test_lips_meet_for_every_bilabial(before: str, after: str, closure: str, length_s: float, start_s: float) -> None:
    phones = sequence(("sil", 0.2), (before, 0.12), (closure, length_s), (after, 0.12), ("sil", 0.2), start_s=start_s)
    motion_TD = spoken(phones)
    inside = motion_TD[frames_inside(phones[2])]
    gap = inside[:, I["jawOpen"]] - inside[:, I["mouthClose"]]
    assert gap.min() < 0.012 and inside[:, I["mouthPressLeft"]].max() > 0.25


@pytest.mark.parametrize("vowel", ["AA", "AE", "AO", "EH", "AH"])
def test_a_vowel_between_two_closures_opens(vowel: str) -> None:
    phones = sequence(("sil", 0.2), ("P", 0.08), (vowel, 0.12), ("B", 0.08), ("sil", 0.2))
    motion_TD = spoken(phones)
    gap_T = motion_TD[:, I["jawOpen"]] - motion_TD[:, I["mouthClose"]]
    assert gap_T[frames_inside(phones[2])].max() > 0.10


def test_lower_lip_meets_the_teeth_for_f_and_v() -> None:
    for phone in ("F", "V"):
        phones = sequence(("AA", 0.15), (phone, 0.08), ("AA", 0.15))
        motion_TD = spoken(phones)
        at = frames_inside(phones[1])
        assert motion_TD[at, I["mouthRollLower"]].max() > 0.55
        assert motion_TD[at, I["mouthClose"]].max() < 0.02
        assert motion_TD[0, I["mouthRollLower"]] < 0.05


def test_the_jaw_follows_vowel_height() -> None:
    jaw = {
        v: float(spoken(sequence(("sil", 0.2), ("HH", 0.05), (v, 0.25), ("sil", 0.2)))[:, I["jawOpen"]].max())
        for v in ("AA", "AE", "EH", "IH", "IY", "UW")
    }
    assert jaw["AA"] > jaw["AE"] > jaw["EH"] > jaw["IH"] > jaw["IY"]
    assert 0.25 < jaw["AA"] < 0.6 and jaw["UW"] < 0.15


def test_rounding_begins_before_the_vowel_and_spreads_over_consonants() -> None:
    rounded, spread = (
        spoken(sequence(("sil", 0.2), ("S", 0.10), ("T", 0.06), (vowel, 0.2), ("sil", 0.2))) for vowel in ("UW", "IY")
    )
    during_t = round(0.33 * FPS)
    assert rounded[during_t, I["mouthPucker"]] > 0.25  # 30 ms before the vowel
    assert rounded[during_t - 2, I["mouthPucker"]] > 0.08  # 110 ms before
    assert spread[:, I["mouthPucker"]].max() < 0.02
    assert spread[:, I["mouthStretchLeft"]].max() > 0.2


def test_the_tongue_rises_for_alveolars() -> None:
    motion_TD = spoken(sequence(("AA", 0.2), ("L", 0.1), ("AA", 0.2)))
    tongue_T = motion_TD[:, I["tongueHeight"]]
    assert tongue_T[round(0.24 * FPS)] > 0.8 and tongue_T[1] < 0.2


def test_fast_speech_undershoots() -> None:
    def opening(length_s: float) -> float:
        items = [("T", length_s), ("AA", length_s)] * 4
        return float(spoken(sequence(("sil", 0.2), *items, ("sil", 0.2)))[:, I["jawOpen"]].max())

    assert opening(0.05) < 0.8 * opening(0.15)


def test_loudness_moves_the_jaw_and_not_the_closures() -> None:
    phones = sequence(("AA", 0.2), ("M", 0.1))
    track = UnitTrack()
    track.add_phones(phones, 0)
    window = track.window(-PAST_BINS, BINS_PER_FRAME + AHEAD_BINS, known=100, silent_after=True)
    soft, loud = to_motion(blend(window), 0.6), to_motion(blend(window), 1.3)
    assert loud[I["jawOpen"]] > 1.8 * soft[I["jawOpen"]]
    sealed = np.zeros(9, dtype=np.float32)
    sealed[0], sealed[1] = 0.1, 1.0
    for effort in (0.6, 1.3):
        motion_D = to_motion(sealed, effort)
        assert motion_D[I["mouthClose"]] == motion_D[I["jawOpen"]]


def test_silence_is_a_closed_mouth_at_rest() -> None:
    assert np.abs(spoken(sequence(("sil", 1.0)))[:, : I["tongueHeight"]]).max() < 1e-6


@given(
    phones=st.lists(st.tuples(st.sampled_from(PHONES), st.floats(0.02, 0.25)), min_size=1, max_size=25),
    cuts=st.lists(st.integers(1, 5000), max_size=10),
)
@settings(max_examples=60, deadline=None)
def test_any_phones_stay_in_range_and_move_smoothly(phones: list[tuple[str, float]], cuts: list[int]) -> None:
    motion_TD = spoken(sequence(*phones))
    assert space.clamp(motion_TD)[1] == 0
    assert np.abs(np.diff(motion_TD[:, I["jawOpen"]])).max(initial=0) < 0.2
    # the same phones given chunk by chunk, split at arbitrary samples, give the same track
    whole, pieces = UnitTrack(), UnitTrack()
    items = sequence(*phones)
    whole.add_phones(items, 0)
    origin = 0
    for cut in [*cuts, 1 << 20]:
        start_s, end_s = origin / STREAM_RATE, (origin + cut) / STREAM_RATE
        part = [
            TimedPhone(p.phone, max(p.start_s, start_s) - start_s, min(p.end_s, end_s) - start_s)
            for p in items
            if p.end_s > start_s and p.start_s < end_s
        ]
        if not any(p.phone in {"AW", "AY", "EY", "OW", "OY"} for p in items):  # their halves depend on the cut
            pieces.add_phones(part, origin)
        else:
            pieces.add_phones(items if origin == 0 else [], 0)
        origin += cut
    last = int(items[-1].end_s * 100) + 1
    np.testing.assert_allclose(whole.rows.window(0, last), pieces.rows.window(0, last), atol=1e-3)


def test_phone_labels_of_all_sources() -> None:
    assert [normalise_phone(x) for x in ("ah0", "pau", "ax", "SIL", "dx", "UW1")] == [
        "AH", "sil", "AH", "sil", "D", "UW",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="ARPAbet"):
        normalise_phone("bogus")
