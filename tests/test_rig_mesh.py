"""The skin mesh is one sheet with exactly four borders: two eyes, the mouth, the face's outline."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.motion.space import ARKIT_NAMES, INDEX
from avatar.rig import basis as basis_module
from avatar.rig import mesh
from avatar.rig.spread import biharmonic, displace

BASIS = basis_module.load()
TOPOLOGY = BASIS.topology


def test_mesh_has_eyes_mouth_and_outline_as_its_only_borders() -> None:
    loops = [set(ring.tolist()) for ring in mesh.boundary_loops(TOPOLOGY.triangles_T3)]
    wanted = [TOPOLOGY.mouth_ring_M, *TOPOLOGY.eye_ring_2E, TOPOLOGY.oval_ring]
    assert len(loops) == 4
    for ring in wanted:
        assert set(ring.tolist()) in loops
    vertices, faces = len(TOPOLOGY.vertices_V3), len(TOPOLOGY.triangles_T3)
    edges = {tuple(sorted((int(t[i]), int(t[i - 1])))) for t in TOPOLOGY.triangles_T3 for i in range(3)}
    assert vertices - len(edges) + faces == 2 - 4  # a sphere with four holes


def test_rings_are_closed_walks_along_edges() -> None:
    edges = {frozenset((int(t[i]), int(t[i - 1]))) for t in TOPOLOGY.triangles_T3 for i in range(3)}
    for ring in (TOPOLOGY.mouth_ring_M, TOPOLOGY.lip_outer_M, *TOPOLOGY.eye_ring_2E, TOPOLOGY.oval_ring):
        assert len(set(ring.tolist())) == len(ring)
        for a, b in zip(ring, np.roll(ring, -1), strict=True):
            assert frozenset((int(a), int(b))) in edges


def test_lines_run_from_image_left_to_image_right_and_pair_up() -> None:
    neutral = BASIS.neutral_V3
    for upper, lower in (
        (TOPOLOGY.lip_upper_L, TOPOLOGY.lip_lower_L),
        *zip(TOPOLOGY.lid_upper_2L, TOPOLOGY.lid_lower_2L, strict=True),
    ):
        assert upper[0] == lower[0] and upper[-1] == lower[-1]
        assert (np.diff(neutral[upper, 0]) > 0).all() and (np.diff(neutral[lower, 0]) > 0).all()
    assert neutral[TOPOLOGY.lid_upper_2L[0], 0].mean() < 0 < neutral[TOPOLOGY.lid_upper_2L[1], 0].mean()


def test_neutral_lips_touch_and_the_head_is_symmetric() -> None:
    neutral = BASIS.neutral_V3
    assert np.abs(neutral[TOPOLOGY.lip_upper_L] - neutral[TOPOLOGY.lip_lower_L]).max() < 0.02  # cm
    mirrored = neutral[TOPOLOGY.mirror_V] * np.array([-1.0, 1.0, 1.0])
    assert np.abs(mirrored - neutral).max() < 0.01


@pytest.mark.parametrize("name", ["mouthSmile", "browDown", "eyeBlink", "noseSneer"])
def test_left_channels_move_the_persons_left_side(name: str) -> None:
    left = BASIS.expression_KV3[INDEX[name + "Left"]]
    size = np.linalg.norm(left, axis=1)
    assert (size * BASIS.neutral_V3[:, 0]).sum() > 0  # the person's left is image right
    right = BASIS.expression_KV3[INDEX[name + "Right"]]
    assert np.allclose(right[TOPOLOGY.mirror_V] * [-1.0, 1.0, 1.0], left, atol=0.005)


def test_every_channel_but_the_tongue_moves_the_skin() -> None:
    size = np.linalg.norm(BASIS.expression_KV3, axis=2).max(1)
    assert (size[: len(ARKIT_NAMES)] > 0.2).all() and size[-1] == 0.0
    lower, upper = TOPOLOGY.lip_lower_L[10], TOPOLOGY.lip_upper_L[10]
    jaw = BASIS.expression_KV3[INDEX["jawOpen"]]
    assert jaw[lower, 1] > 2.0 > 0.3 > jaw[upper, 1]  # cm, down


def test_biharmonic_spreading_is_smooth_exact_on_handles_and_local() -> None:
    ring = TOPOLOGY.mouth_ring_M
    near = mesh.rings_from(TOPOLOGY.triangles_T3, len(BASIS.neutral_V3), ring) <= 10
    spread = biharmonic(BASIS.neutral_V3, TOPOLOGY.triangles_T3, ring, near)
    pull = np.tile([0.0, 1.0, 0.0], (len(ring), 1))
    field = displace(BASIS.neutral_V3, TOPOLOGY.triangles_T3, ring, pull, near)
    assert np.allclose(field[ring], pull)
    assert np.allclose(field[spread.rows_N], spread.matrix_NH @ pull, atol=1e-4)
    assert not field[~near].any()
    assert field[:, 1].max() < 1.3 and field[:, 1].min() > -0.2  # no spikes, hardly any overshoot
