"""A portrait's channels are the package's, turned, and the little that differs: keeping only that loses nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import kernels
from avatar.rig.channels import TOLERANCE, from_dense, shared_KV3, to_dense
from tests.rig_samples import sample_rig


@given(st.integers(0, 2**32 - 1), st.integers(0, 80))
@settings(max_examples=20, deadline=None)
def test_from_dense_and_back(seed: int, own: int) -> None:
    rng = np.random.default_rng(seed)
    turn_33 = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(5, 30)
    dense = shared_KV3() @ turn_33.T
    rows = rng.choice(dense.shape[1], own, replace=False)
    dense[:, rows] += rng.normal(0, 4.0, (EXPRESSION_DIM, own, 3))
    skin = from_dense(dense, turn_33)
    assert skin.own_rows_N.tolist() == sorted(rows.tolist())
    assert np.abs(to_dense(skin) - dense).max() < TOLERANCE

    weights = rng.uniform(0, 1, EXPRESSION_DIM).astype(np.float32)
    weights[rng.uniform(size=EXPRESSION_DIM) < 0.6] = 0.0
    neutral = sample_rig().neutral_V3
    blended = kernels.blend(neutral, shared_KV3(), skin.turn_33, skin.own_rows_N, skin.own_KN3, weights)
    assert np.abs(blended - (neutral + np.tensordot(weights, dense, 1))).max() < 0.01


def test_blinks_are_contact_and_need_no_channel() -> None:
    shared = shared_KV3()
    assert not shared[[INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]].any()
    assert shared[INDEX["jawOpen"]].any() and not shared.flags.writeable
