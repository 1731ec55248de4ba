"""A head stays inside what its portrait can show, and gets there smoothly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avatar.motion import space
from avatar.motion.limits import KNEE, TURNS, limit_head
from tests.render_samples import motions

WIDE = np.stack([space.LOW_D[TURNS], space.HIGH_D[TURNS]])
NARROW = np.radians(np.array([[-10.0, -10.0, -5.0], [4.0, 10.0, 10.0]], np.float32))


@given(motions())
def test_a_full_range_changes_nothing(motion_D: np.ndarray) -> None:
    assert np.array_equal(limit_head(motion_D, WIDE), motion_D)


@given(motions())
def test_the_head_stays_inside_and_the_rest_is_left_alone(motion_D: np.ndarray) -> None:
    out_D = limit_head(motion_D, NARROW)
    assert (out_D[TURNS] >= NARROW[0] - 1e-6).all() and (out_D[TURNS] <= NARROW[1] + 1e-6).all()
    rest = np.ones(space.DIM, bool)
    rest[TURNS] = False
    assert np.array_equal(out_D[rest], motion_D[rest])
    small = np.abs(motion_D[TURNS]) <= KNEE * np.where(motion_D[TURNS] < 0, -NARROW[0], NARROW[1])
    assert np.array_equal(out_D[TURNS][small], motion_D[TURNS][small])


@given(st.integers(0, 2))
def test_turning_further_never_turns_back_nor_jumps(axis: int) -> None:
    sweep_TD = np.zeros((601, space.DIM), np.float32)
    turn = TURNS.start + axis
    sweep_TD[:, turn] = np.linspace(space.LOW_D[turn], space.HIGH_D[turn], 601)
    steps_T = np.diff(limit_head(sweep_TD, NARROW)[:, turn].astype(np.float64))
    whole = float(np.diff(sweep_TD[:, turn])[0])
    assert steps_T.min() >= -1e-7 and steps_T.max() <= whole * 1.01
    assert np.abs(np.diff(steps_T)).max() < 0.05 * whole, "the slope is continuous"


def test_no_room_at_all_holds_the_head_still() -> None:
    motion_D = space.neutral()
    motion_D[TURNS] = (0.2, -0.1, 0.1)
    assert np.abs(limit_head(motion_D, np.zeros((2, 3)))[TURNS]).max() < 1e-5
