"""Seams: noise belongs to frames, and drafts lead over into the frames that replace them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avatar.motion import space
from avatar.motion.articulation import SPEECH_CHANNELS
from avatar.motion.diffusion.layout import SLOW_D
from avatar.motion.diffusion.seam import FADE_FRAMES, LIPS_FADE_FRAMES, FrameNoise, cross_fade

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
    assert np.abs(next_to_D[~SLOW_D]).max() < 0.15 < 0.9 < next_to_D[SLOW_D].min()
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
