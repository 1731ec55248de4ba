"""The warp mesh: at the portrait's own expression it shows the portrait; lips' texture slides without folding."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.render.layers import Layers
from avatar.render.underlay import flatten_sides
from avatar.render.warp_mesh import build_warp_mesh, fan_across, lid_shifts, lip_slides, to_frame
from tests.render_samples import identity, motion, rig
from tests.rig_samples import source_motion


def test_at_the_portraits_expression_the_mesh_lies_on_the_portrait() -> None:
    relief = flatten_sides(rig())
    mesh = build_warp_mesh(relief, Layers.unpack(identity().arrays), 1.0)
    face = relief.deform(source_motion(relief))
    points, _ = mesh.place(face, to_frame(face.skin_V3, 1.0))
    away = np.abs(points[:, :2] - mesh.source_N2).max(1)
    start = len(mesh.underlay.rest_U3)
    corrected = np.abs(lid_shifts(relief, Layers.unpack(identity().arrays).lid_step_2E)).max(1) > 0
    assert away[:start].max() < 0.1
    assert away[start : start + len(relief.rest_V3)][~corrected].max() < 0.1
    assert away.max() < 0.5 * relief.eyes.iris_radius_2.max()


def test_scaling_keeps_pixel_centres() -> None:
    corner = np.array([[-0.5, -0.5, 0.0], [511.5, 511.5, 4.0]], np.float32)
    assert np.allclose(to_frame(corner, 0.5), [[-0.5, -0.5, 0.0], [255.5, 255.5, 2.0]])


def test_a_fan_closes_a_ring() -> None:
    triangles = fan_across(10)
    assert len(triangles) == 8  # a polygon of n corners takes n - 2
    edges = {tuple(sorted((int(t[i]), int(t[(i + 1) % 3])))) for t in triangles for i in range(3)}
    assert {tuple(sorted((i, (i + 1) % 10))) for i in range(10)} <= edges


def test_lips_never_fold_when_their_texture_slides() -> None:
    relief = rig()
    layers = Layers.unpack(identity().arrays)
    rows, steps = lip_slides(relief, layers.lip_step_M)
    assert len(rows) > 80
    slid = relief.rest_V3[:, :2].astype(np.float64).copy()
    down = relief.R_source_33[:2, 1] / np.linalg.norm(relief.R_source_33[:2, 1])
    slid[rows] += steps[:, None] * down

    def areas(points: np.ndarray) -> np.ndarray:
        a, b, c = (points[relief.triangles_T3[:, i]] for i in range(3))
        return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2

    before, after = areas(relief.rest_V3[:, :2].astype(np.float64)), areas(slid)
    large = before > 0.5
    assert (after[large] > 0).mean() > 0.995


def test_closed_lips_show_the_portraits_own_line() -> None:
    relief = flatten_sides(rig())
    mesh = build_warp_mesh(relief, Layers.unpack(identity().arrays), 1.0)
    face = relief.deform(motion(mouthPress=1.0))
    _, source = mesh.place(face, face.skin_V3)
    moved = np.abs(source - mesh.source_N2).max()
    assert moved == pytest.approx(0.0) or mesh.lips_apart
