"""Seams: noise belongs to frames, and drafts lead over into the frames that replace them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avatar.motion import space
from avatar.motion.articulation import SPEECH_CHANNELS
from avatar.motion.controls import Asked
from avatar.motion.diffusion.layout import SLOW_D
from avatar.motion.diffusion.seam import (
    FADE_FRAMES,
    HOMING_D,
    LIPS_FADE_FRAMES,
    FrameNoise,
    cross_fade,
    draw_home,
    face_at_rest,
    spread,
    steady_head,
)

YAW, JAW = space.INDEX["headYaw"], space.INDEX["jawOpen"]


@given(first=st.integers(0, 2**40), count=st.integers(1, 12), seed=st.integers(0, 99))
def test_noise_belongs_to_the_frame(first: int, count: int, seed: int) -> None:
    rows_ND = FrameNoise(seed).rows(first, first + count)
    assert rows_ND.dtype == np.float32 and rows_ND.shape == (count, space.DIM)
    np.testing.assert_array_equal(rows_ND[-1:], FrameNoise(seed).rows(first + count - 1, first + count))
    assert not np.array_equal(rows_ND, FrameNoise(seed + 1).rows(first, first + count))


def test_noise_is_standard_normal_white_for_lips_and_smooth_for_the_rest() -> None:
    rows_ND = FrameNoise(3).rows(0, 1000)
    assert abs(float(rows_ND.mean())) < 0.04 and abs(float(rows_ND.std()) - 1.0) < 0.03
    next_to_D = (rows_ND[:-1] * rows_ND[1:]).mean(0) / (rows_ND**2).mean(0)
    assert np.abs(next_to_D[~SLOW_D]).max() < 0.15 < 0.85 < next_to_D[SLOW_D].min()
    apart_D = (rows_ND[:-40] * rows_ND[40:]).mean(0)
    assert np.abs(apart_D).mean() < 0.15


def test_a_draft_leads_over() -> None:
    """From the draft to the new motion, monotone, done after FADE_FRAMES; lips change over at once."""
    new_ND, draft_ND = np.zeros((8, space.DIM), np.float32), np.ones((6, space.DIM), np.float32)
    out_ND = cross_fade(new_ND, draft_ND, np.ones(6, bool))
    yaw_N = out_ND[:, YAW]
    assert 0.7 < yaw_N[0] < 1.0 and (np.diff(yaw_N[: FADE_FRAMES + 1]) < 0).all() and not yaw_N[FADE_FRAMES:].any()
    assert 0.0 < out_ND[0, JAW] < 1.0 and not out_ND[LIPS_FADE_FRAMES:, JAW].any()


def test_drafts_of_another_kind_say_nothing_about_the_lips() -> None:
    new_ND, draft_ND = np.zeros((8, space.DIM), np.float32), np.ones((3, space.DIM), np.float32)
    out_ND = cross_fade(new_ND, draft_ND, np.array([False, False, True]))
    assert not out_ND[:, SPEECH_CHANNELS].any()
    assert out_ND[0, YAW] > 0.7


@given(drafts=st.integers(0, 9), frames=st.integers(1, 9))
def test_agreeing_windows_and_missing_drafts_change_nothing(drafts: int, frames: int) -> None:
    made_ND = np.random.default_rng(0).normal(size=(9, space.DIM)).astype(np.float32)
    same_N = np.ones(min(drafts, frames), bool)
    np.testing.assert_allclose(cross_fade(made_ND[:frames], made_ND[:drafts], same_N), made_ND[:frames], atol=1e-6)


def test_a_face_that_goes_on_from_where_it_is_does_not_wander_off() -> None:
    """A network that drifts the same way for ever ends a little beside its rest, and the pull has no edge."""
    home_D = face_at_rest(Asked(rest_roll_deg=3.0, distance=0.9))
    last_D = home_D.copy()
    drift_D = 0.04 * HOMING_D
    shown = []
    for _ in range(120):
        window_ND = last_D + drift_D * np.arange(1, 9, dtype=np.float32)[:, None]
        draw_home(window_ND, home_D)
        shown.append(window_ND[:5].copy())
        last_D = window_ND[4]
    shown_TD = np.concatenate(shown)
    pulled = HOMING_D > 0
    assert np.abs(shown_TD - home_D)[:, pulled].max() < 0.05
    bend_TD = np.abs(np.diff(shown_TD[-100:], n=2, axis=0))[:, pulled]
    assert bend_TD.max() < 0.004
    assert np.array_equal(shown_TD[:, ~pulled], np.broadcast_to(home_D, shown_TD.shape)[:, ~pulled])


def test_steadying_keeps_slow_motion_and_takes_tremor() -> None:
    frames_T = np.arange(12, dtype=np.float32)
    yaw = space.INDEX["headYaw"]
    window_ND = np.zeros((12, space.DIM), np.float32)
    window_ND[:, yaw] = 0.002 * frames_T
    shown_D = np.zeros(space.DIM, np.float32)
    shown_D[yaw] = -0.002
    steady_head(window_ND, shown_D)
    assert np.abs(window_ND[:10, yaw] - 0.002 * frames_T[:10]).max() < 1e-6
    window_ND[:, yaw] = 0.002 * (-1.0) ** frames_T
    steady_head(window_ND, 0.0 * shown_D)
    assert np.abs(window_ND[3:9, yaw]).max() < 0.501 * 0.002
    assert np.abs(window_ND[0, yaw]) < 0.002


def test_liveliness_and_feelings_set_how_far_the_noise_goes() -> None:
    usual_D = spread(Asked())
    assert np.array_equal(usual_D[SPEECH_CHANNELS], np.ones(SPEECH_CHANNELS.sum()))
    head = [float(spread(Asked(liveliness=value))[YAW]) for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert (np.diff(head) > 0.0).all() and head[4] > 3.0 * head[0]
    assert spread(Asked(surprised=1.0))[space.INDEX["browInnerUp"]] > usual_D[space.INDEX["browInnerUp"]]
