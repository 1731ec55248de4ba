"""Scan conversion: meshes are watertight, values linear, the nearest wins, coverage is area."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from avatar.render import raster

SIDE = 48
FEW = settings(max_examples=30, deadline=None)


def canvas(channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    depth = np.empty((SIDE, SIDE), np.float32)
    raster.clear(depth)
    return depth, np.full((channels, SIDE, SIDE), np.nan, np.float32)


def mesh_over_the_frame(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Random points, triangulated, well beyond the frame on all sides; random winding."""
    rng = np.random.default_rng(seed)
    inner = rng.uniform(-2, SIDE + 2, (count, 2))
    if seed % 2:
        inner = np.rint(inner)  # points on pixel centres are the hard case
    corners = np.array([[-30, -30], [SIDE + 30, -31], [SIDE + 29, SIDE + 30], [-31, SIDE + 30]])
    points = np.unique(np.concatenate([inner, corners]), axis=0)
    triangles = Delaunay(points).simplices.astype(np.int32)
    flip = rng.random(len(triangles)) < 0.5
    triangles[flip] = triangles[flip][:, [0, 2, 1]]
    return np.c_[points, np.zeros(len(points))].astype(np.float32), triangles


@FEW
@given(st.integers(0, 10_000))
def test_neighbours_share_every_pixel_exactly_once(seed: int) -> None:
    points, triangles = mesh_over_the_frame(seed)
    times = np.zeros((SIDE, SIDE), int)
    for triangle in triangles:
        depth, out = canvas()
        raster.raster_map(points, points[:, :2].copy(), triangle[None], depth, out)
        times += depth != raster.FAR
    assert (times == 1).all()


@FEW
@given(st.integers(0, 10_000))
def test_a_mesh_in_its_own_coordinates_draws_the_identity(seed: int) -> None:
    points, triangles = mesh_over_the_frame(seed)
    depth, out = canvas()
    raster.raster_map(points, points[:, :2].copy(), triangles, depth, out)
    y, x = np.mgrid[:SIDE, :SIDE]
    # slivers amplify rounding of their own slopes
    assert np.quantile(np.abs(out - np.stack([x, y])), 0.99) < 0.01
    assert np.abs(out - np.stack([x, y])).max() < 1.0


@FEW
@given(st.integers(0, 10_000))
def test_both_rasterisers_agree(seed: int) -> None:
    points, triangles = mesh_over_the_frame(seed)
    points[:, 2] = np.random.default_rng(seed).uniform(-5, 5, len(points))
    values = np.random.default_rng(seed + 1).uniform(0, 9, (len(points), 2)).astype(np.float32)
    depth_a, a = canvas()
    depth_b, b = canvas()
    raster.raster_map(points, values, triangles, depth_a, a)
    raster.raster(points, values, triangles, depth_b, b)
    assert np.array_equal(depth_a, depth_b)
    assert np.abs(a - b).max() < 1e-2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearest_wins_whatever_is_drawn_first(order: tuple[int, int]) -> None:
    near = np.array([[5, 5, 3], [40, 5, 3], [5, 40, 3]], np.float32)
    far = near * np.array([1, 1, -1], np.float32)
    points = np.concatenate([near, far])
    values = np.repeat(np.array([[1.0, 0.0], [2.0, 0.0]], np.float32), 3, axis=0)
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)[list(order)]
    depth, out = canvas()
    raster.raster_map(points, values, np.ascontiguousarray(triangles), depth, out)
    assert set(np.unique(out[0][depth != raster.FAR])) == {1.0}


def test_degenerate_and_outlying_triangles_draw_nothing() -> None:
    points = np.array([[5, 5, 0], [5, 5, 0], [9, 9, 0], [-50, -50, 0], [-40, -50, 0], [-50, -40, 0]], np.float32)
    depth, out = canvas()
    raster.raster_map(points, points[:, :2].copy(), np.array([[0, 1, 2], [3, 4, 5]], np.int32), depth, out)
    assert (depth == raster.FAR).all()


@FEW
@given(
    st.lists(st.tuples(st.floats(2, 45, width=32), st.floats(2, 45, width=32)), min_size=3, max_size=3),
)
def test_coverage_of_a_triangle_adds_up_to_its_area(corners: list[tuple[float, float]]) -> None:
    polygon = np.array(corners, np.float32)
    cover = np.empty((SIDE, SIDE), np.float32)
    raster.coverage(polygon, 0, 0, cover)
    a, b = polygon[1] - polygon[0], polygon[2] - polygon[0]
    area = abs(float(a[0]) * float(b[1]) - float(a[1]) * float(b[0])) / 2
    height = float(np.ptp(polygon[:, 1]))
    # exact along rows; four lines per row down them
    widest = 2 * area / height if height > 0 else 0.0
    assert abs(float(cover.sum()) - area) <= widest / 4 + 0.01
    assert cover.min() >= 0.0
    assert cover.max() <= 1.001


def test_coverage_keeps_its_place_in_a_patch() -> None:
    square = np.array([[10, 10], [14, 10], [14, 14], [10, 14]], np.float32)
    cover = np.empty((8, 8), np.float32)
    raster.coverage(square, 9, 9, cover)
    assert np.allclose(cover[2:5, 2:5], 1.0)  # pixels 11..13
    assert np.allclose(cover[1, 2:5], 0.5)  # the edge runs through the middle of pixel row 10
    assert cover[1, 1] == pytest.approx(0.25)
    assert cover[0].max() == 0.0


def layer_and_depth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two rows of five red pixels: opaque, clear, opaque, half, opaque but not drawn; and a box without the first."""
    layer = np.zeros((2, 5, 4), np.uint8)
    layer[..., 0] = 200
    layer[0, :, 3] = (255, 0, 255, 128, 255)
    depth = np.zeros((2, 5), np.float32)
    depth[0, 4] = raster.FAR
    return layer, depth, np.array([1, 0, 5, 1], np.int32)


def test_the_plate_shows_where_the_person_is_not() -> None:
    frame, depth, box = layer_and_depth()
    raster.under(frame, depth, box, np.full((2, 5, 3), 100, np.uint8))
    assert frame[0, 0, :3].tolist() == [100, 100, 100]  # outside of the box
    assert frame[0, 1, :3].tolist() == [100, 100, 100]
    assert frame[0, 2, :3].tolist() == [200, 0, 0]
    assert frame[0, 3, 0] == pytest.approx(150, abs=1)
    assert frame[0, 4, :3].tolist() == [100, 100, 100]  # nothing drawn
    assert (frame[1, :, :3] == 100).all()
    assert (frame[..., 3] == 255).all()


def test_a_cut_out_keeps_the_person_alone() -> None:
    frame, depth, box = layer_and_depth()
    raster.cut_out(frame, depth, box)
    assert frame[0, :, 3].tolist() == [0, 0, 255, 128, 0]
    assert frame[0, 3].tolist() == [200, 0, 0, 128]
    assert (frame[frame[..., 3] == 0] == 0).all()


def test_folds_are_blurred_from_what_was_there_before() -> None:
    # A tear down the middle of a checkerboard: every pixel beside it gets the mean of its unblurred neighbours.
    y, x = np.indices((8, 8))
    frame = np.repeat((((x + y) % 2) * 200).astype(np.uint8)[..., None], 4, axis=2)
    frame[..., 3] = 255
    before = frame.astype(np.int32)
    torn_map = np.stack([x + 20.0 * (x >= 4), y]).astype(np.float32)
    found = np.empty((raster.MOST_FOLDS, 5), np.int32)
    raster.soften_folds(torn_map, np.zeros((8, 8), np.float32), frame, np.array([0, 0, 8, 8], np.int32), found)
    changed = (frame != before).any(-1)
    assert set(np.flatnonzero(changed.any(0))) == {3, 4} and changed[1:7, 3:5].all()
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    for row, column in ((2, 3), (3, 4), (6, 3)):
        around = before[row - 1 : row + 2, column - 1 : column + 2, 0]
        assert frame[row, column, 0] == (int((around * kernel).sum()) + 8) >> 4


def test_smooth_edges_touches_only_pixels_whose_samples_come_from_apart() -> None:
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[:, 16:] = 200
    y, x = np.mgrid[:16, :16].astype(np.float32)
    fine = np.stack([x / 2 + 4, y / 2 + 4])
    fine[0, :, 9:] += 16  # a tear through the middle of frame pixel 4
    out = np.full((8, 8, 3), 7, np.uint8)
    raster.smooth_edges(fine, np.zeros((16, 16), np.float32), picture, 0, 0, out)
    assert (out[:, 4] == 100).all()
    assert (np.delete(out, 4, axis=1) == 7).all()
