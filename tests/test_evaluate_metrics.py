"""Metrics of motion: made inputs whose answers are known, and that shifting the motion is always noticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS
from avatar.motion import space
from avatar.motion.events import blink_curve
from scripts.evaluate.metrics import closures, life, lips, seams, sync

I = space.INDEX  # noqa: E741


def wander(seed: int, frames: int = 200) -> NDArray[np.float64]:
    """A smooth random curve."""
    noise_T = np.random.default_rng(seed).standard_normal(frames + 6)
    return np.convolve(noise_T, np.hanning(7), "valid")


# ---------------------------------------------------------------- sync


@given(seed=st.integers(0, 1000), gain=st.floats(0.1, 10.0), rest=st.floats(-5.0, 5.0))
@settings(max_examples=25, deadline=None)
def test_correlation_ignores_gain_and_each_clips_rest(seed: int, gain: float, rest: float) -> None:
    curves = [wander(seed), wander(seed + 1)]
    others = [gain * curves[0] + rest, gain * curves[1] - rest]
    assert sync.pooled_r(curves, others) == pytest.approx(1.0)
    assert sync.pooled_r(curves, [-c for c in others]) == pytest.approx(-1.0)
    assert sync.clip_r(curves, others) == pytest.approx(1.0)


def test_correlation_of_strangers_is_near_zero_and_of_the_still_is_zero() -> None:
    assert abs(sync.pooled_r([wander(i) for i in range(40)], [wander(i + 100) for i in range(40)])) < 0.1
    assert sync.pooled_r([np.ones(50)], [wander(0, 50)]) == 0.0


def test_correlation_is_numpys_for_one_clip() -> None:
    a_T, b_T = wander(1), wander(1) + wander(2)
    assert sync.pooled_r([a_T], [b_T]) == pytest.approx(float(np.corrcoef(a_T, b_T)[0, 1]))


@given(seed=st.integers(0, 1000), late=st.integers(-4, 4))
@settings(max_examples=25, deadline=None)
def test_lag_is_found_with_its_sign(seed: int, late: int) -> None:
    curves = [wander(seed + i) for i in range(3)]
    lag, r = sync.best_lag([sync.shifted(c, late) for c in curves], curves)
    assert lag == pytest.approx(late, abs=0.3) and r > 0.9


def test_lag_between_frames_is_found() -> None:
    at = np.arange(300)
    curve, later = (np.sin(at / 5.0) + np.sin(at / 3.1), np.sin((at - 0.5) / 5.0) + np.sin((at - 0.5) / 3.1))
    assert sync.best_lag([later], [curve])[0] == pytest.approx(0.5, abs=0.1)


@given(seed=st.integers(0, 1000), noise=st.floats(0.0, 0.5))
@settings(max_examples=25, deadline=None)
def test_shifted_motion_correlates_less(seed: int, noise: float) -> None:
    curves = [wander(seed + i) for i in range(4)]
    heard = [c + noise * wander(seed + 50 + i) for i, c in enumerate(curves)]
    assert sync.shift_drop(heard, curves, 2) > 0.1
    assert sync.shift_drop([sync.shifted(c, 2) for c in heard], curves, 2) < 0.0  # late motion gains from moving back


# ---------------------------------------------------------------- closures

WORD = [
    TimedPhone("sil", 0.0, 0.2),
    TimedPhone("M", 0.2, 0.32),
    TimedPhone("AA", 0.32, 0.6),
    TimedPhone("P", 0.6, 0.68),
    TimedPhone("IY", 0.68, 1.0),
    TimedPhone("sil", 1.0, 1.2),
]


def mouth(*closed: tuple[float, float]) -> NDArray[np.float64]:
    """Opening of 1.2 s, 5 mm wide but for the stretches of seconds given."""
    gap_T = np.full(30, 5.0)
    for start_s, end_s in closed:
        gap_T[round(start_s * FPS) : round(end_s * FPS)] = 0.0
    return gap_T


def test_right_closures() -> None:
    found = closures.count_closures(mouth((0.0, 0.32), (0.6, 0.68), (1.0, 1.2)), WORD)
    assert (found.bilabials, found.hits) == (2, 2) and found.hit_pct == 100.0
    assert found.open_phones == 2 and found.false_pct == 0.0
    assert (found.events, found.false_events) == (1, 0)


def test_missed_and_false_closures() -> None:
    found = closures.count_closures(mouth((0.0, 0.2), (0.44, 0.48), (1.0, 1.2)), WORD)
    assert found.hits == 0 and found.hit_pct == 0.0
    assert found.falsely_closed == 1 and found.false_pct == 50.0
    assert (found.events, found.false_events) == (1, 1) and found.false_event_pct == 100.0


def test_the_middle_of_a_bilabial_must_be_closed() -> None:
    phones = [TimedPhone("AA", 0.0, 0.57), TimedPhone("P", 0.57, 0.67), TimedPhone("AA", 0.67, 1.2)]  # middle: 0.62
    for start_s, exact, slack in ((0.52, 0, 0), (0.56, 0, 1), (0.60, 1, 1), (0.64, 0, 1), (0.68, 0, 0)):
        gap_T = mouth((start_s, start_s + 0.04))
        assert closures.count_closures(gap_T, phones).hits == exact
        assert closures.count_closures(gap_T, phones, slack_s=0.025).hits == slack


def test_a_short_vowel_between_bilabials_need_not_open() -> None:
    phones = [
        TimedPhone("B", 0.3, 0.4),
        TimedPhone("AH", 0.4, 0.46),
        TimedPhone("B", 0.46, 0.56),
        TimedPhone("AA", 0.56, 1.0),
    ]
    found = closures.count_closures(mouth((0.0, 1.2)), phones)
    assert (found.open_phones, found.falsely_closed) == (1, 1)  # the AA alone
    assert closures.count_closures(mouth((0.0, 1.2)), phones[:1] + phones[3:]).open_phones == 1
    labial = [TimedPhone("AA", 0.0, 0.5), TimedPhone("F", 0.5, 0.7), TimedPhone("AA", 0.7, 1.2)]
    assert closures.count_closures(mouth((0.5, 0.7)), labial).falsely_closed == 0  # lips at the teeth


def test_closures_add_up() -> None:
    one = closures.count_closures(mouth((0.6, 0.68)), WORD)
    both = one + one
    assert (both.bilabials, both.hits) == (2 * one.bilabials, 2 * one.hits)
    assert np.isnan(closures.Closures().hit_pct)


@given(st.integers(0, 500))
@settings(max_examples=20, deadline=None)
def test_shifted_motion_hits_fewer_bilabials(seed: int) -> None:
    rng = np.random.default_rng(seed)
    phones, at = [TimedPhone("sil", 0.0, 0.4)], 0.4
    for _ in range(15):
        vowel_s = float(rng.uniform(0.16, 0.3))
        phones += [TimedPhone("B", at, at + 0.08), TimedPhone("AA", at + 0.08, at + 0.08 + vowel_s)]
        at = phones[-1].end_s
    gap_T = np.full(int(at * FPS) + 10, 6.0)
    for p in phones:
        if p.phone == "B":
            gap_T[int(p.start_s * FPS) : int(np.ceil(p.end_s * FPS))] = 0.0
    hits = closures.count_closures(gap_T, phones).hit_pct
    assert hits == 100.0
    for late in (-3, -2, 2, 3):
        assert closures.count_closures(sync.shifted(gap_T, late), phones).hit_pct < 40.0


# ---------------------------------------------------------------- life


def face(frames: int = 250) -> NDArray[np.float32]:
    return np.zeros((frames, space.DIM), np.float32)


def test_head_figures() -> None:
    moving_TD = face()
    moving_TD[:, I["headYaw"]] = np.radians(3.0 * np.sqrt(2.0) * np.sin(2 * np.pi * np.arange(250) / 25))
    moving_TD[:, I["headPitch"]] = np.radians(4.0 * np.sqrt(2.0) * np.cos(2 * np.pi * np.arange(250) / 25))
    turned_TD = moving_TD.copy()
    turned_TD[:, I["headYaw"]] += 0.1  # a clip that looks elsewhere is no motion
    assert life.head_std([moving_TD, turned_TD]) == pytest.approx(5.0, rel=1e-3)
    steady_TD = face()
    steady_TD[:, I["headRoll"]] = np.radians(0.2 * np.arange(250))
    assert life.pose_change([steady_TD]) == pytest.approx(0.2, rel=1e-4)


def test_blinks_are_counted_and_measured() -> None:
    blinking_TD = face(750)
    for start_s in (2.0, 10.0, 10.4, 20.0):
        for t in range(750):
            closed = blink_curve((t + 0.5) / FPS - start_s, 0.08, 0.04, 0.12)
            blinking_TD[t, [I["eyeBlinkLeft"], I["eyeBlinkRight"]]] += closed
    blinking_TD[:, [I["eyeBlinkLeft"], I["eyeBlinkRight"]]] += 0.1  # lids at rest
    assert len(life.find_blinks(blinking_TD)) == 4
    assert life.blink_rate([blinking_TD]) == pytest.approx(8.0)
    assert life.blink_duration([blinking_TD]) == pytest.approx(140.0, abs=20.0)  # half to half: 40 + 40 + 60 ms
    half_TD = face(750)
    half_TD[100:110, I["eyeBlinkLeft"]] = 0.5  # a wink of half a lid is none
    assert life.find_blinks(half_TD) == [] and np.isnan(life.blink_duration([half_TD]))


def test_brows() -> None:
    raised_TD = face(100)
    raised_TD[50:, [I["browInnerUp"], I["browOuterUpLeft"], I["browOuterUpRight"]]] = 0.4
    assert life.brow_std([raised_TD]) == pytest.approx(0.2)


def test_jerk_and_movement() -> None:
    cubic_T = np.arange(60.0) ** 3 / 6.0
    assert life.jerk([cubic_T]) == pytest.approx(1.0)
    assert life.jerk([np.arange(50.0) ** 2]) == pytest.approx(0.0, abs=1e-9)
    step_T = np.r_[np.zeros(10), np.ones(10)]
    first_half = np.arange(20) < 10
    assert life.movement([step_T], [first_half]) == 0.0
    assert life.movement([step_T], [np.ones(20, bool)]) == pytest.approx(np.sqrt(1 / 19))


# ---------------------------------------------------------------- seams


def test_seams_are_found_where_they_are() -> None:
    rng = np.random.default_rng(0)
    clips = [np.cumsum(np.cumsum(rng.normal(0, 0.01, (300, 4)), 0), 0) for _ in range(4)]
    starts = [list(range(5, 300, 5))] * 4
    honest = seams.seam_test(clips, starts)
    assert abs(honest.effect) < 0.1 and honest.p > 0.01 and honest.ratio == pytest.approx(1.0, abs=0.15)
    broken = []
    for clip_TD in clips:
        torn_TD = clip_TD.copy()
        for start in starts[0]:
            torn_TD[start:] += rng.normal(0, 0.03, 4)
        broken.append(torn_TD)
    found = seams.seam_test(broken, starts)
    assert found.effect > 0.5 and found.p < 1e-6 and found.ratio > 1.5
    elsewhere = seams.seam_test(broken, [[s + 2 for s in starts[0][:-1]]] * 4)
    assert elsewhere.effect < 0.0  # the same tears, looked for in the wrong place


def test_seams_need_windows() -> None:
    with pytest.raises(ValueError, match="window"):
        seams.seam_test([np.random.default_rng(0).normal(size=(50, 2))], [[]])


# ---------------------------------------------------------------- lips


def motion(**channels: float) -> NDArray[np.float32]:
    motion_TD = face(1)
    for name, value in channels.items():
        motion_TD[0, I[name]] = value
    return motion_TD


def test_lips_in_millimetres() -> None:
    rig = lips.lip_rig()
    assert 35.0 < rig.rest_width_mm < 60.0  # a mouth
    assert rig.lips(motion()).gap_T[0] == pytest.approx(0.0, abs=0.05)
    wide = rig.lips(motion(jawOpen=0.4))
    assert 8.0 < wide.gap_T[0] < 25.0
    assert rig.lips(motion(jawOpen=0.2, mouthClose=0.2)).gap_T[0] < closures.CLOSED_MM
    np.testing.assert_allclose(rig.lips(motion(jawOpen=0.4, headYaw=0.2)).points_TN3, wide.points_TN3)


def test_lip_error() -> None:
    rig = lips.lip_rig()
    a, b = rig.lips(np.repeat(motion(jawOpen=0.1), 3, 0)), rig.lips(np.repeat(motion(jawOpen=0.3), 3, 0))
    assert lips.vertex_error(a, a).max() == 0.0
    assert 0.5 < lips.vertex_error(a, b)[0] < 10.0
    assert lips.vertex_error(a, b, own_rest=True).max() < 1e-4


def test_opening_by_channels() -> None:
    values: dict[str, Any] = {"jawOpen": 0.3, "mouthClose": 0.1, "mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2}
    assert lips.channel_opening(motion(**values))[0] == pytest.approx(0.25)
