"""The batched rasteriser and coverage against the numba kernels they stand in for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.render import raster
from avatar.render.batch.boxes import Room, coverage, line_y, pixel_box
from avatar.render.batch.queue import hand_out
from avatar.render.batch.raster import Rasteriser, Target
from avatar.render.eyes import _line_y

F32 = NDArray[np.float32]
CPU = torch.device("cpu")
WIDTH, HEIGHT = 24, 18


def drawn(
    points_BN3: F32, values_BN2: F32, triangles_T3: NDArray[np.int32], pixels: int = 4000
) -> tuple[F32, F32, F32]:
    """Depth-tested values [B, 2, H, W], depth and whether drawn."""
    slots, count = points_BN3.shape[:2]
    draw = Rasteriser(
        [Target(WIDTH, HEIGHT, len(triangles_T3))], slots=slots, rows=2000, pixels=pixels, attributes=2, device=CPU
    )
    columns = np.concatenate([points_BN3, values_BN2], -1).reshape(slots * count, 5).T
    corners = np.stack([np.sort(triangles_T3, 1).T + slot * count for slot in range(slots)]).astype(np.int32)
    clip = torch.tensor([[[float(WIDTH), float(HEIGHT)]]] * slots)
    found = draw.draw(torch.from_numpy(np.ascontiguousarray(columns)), torch.from_numpy(corners), clip)
    values, there = draw.read(found, 0, 0, slice(0, 3))
    shape = (slots, HEIGHT, WIDTH)
    return values[1:].numpy().reshape(2, *shape), values[0].numpy().reshape(shape), there.numpy().reshape(shape)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 14), st.integers(1, 30), st.booleans())
def test_the_same_pixels_from_the_same_triangles(seed: int, points: int, triangles: int, on_grid: bool) -> None:
    rng = np.random.default_rng(seed)
    points_BN3 = rng.uniform(-8, 32, (2, points, 3)).astype(np.float32)
    if on_grid:  # edges through pixel centres, equal heights, degenerate triangles
        points_BN3 = np.round(points_BN3)
    values_BN2 = rng.uniform(0, 100, (2, points, 2)).astype(np.float32)
    triangles_T3 = rng.integers(0, points, (triangles, 3)).astype(np.int32)
    values, depth, there = drawn(points_BN3, values_BN2, triangles_T3)
    for slot in range(2):
        expected = np.zeros((2, HEIGHT, WIDTH), np.float32)
        nearest = np.full((HEIGHT, WIDTH), raster.FAR, np.float32)
        raster.raster_map(points_BN3[slot], values_BN2[slot], triangles_T3, nearest, expected)
        assert np.array_equal(there[slot], nearest != raster.FAR)
        mask = there[slot]
        assert np.allclose(depth[slot][mask], nearest[mask], atol=2e-2, rtol=1e-3)
        # where two triangles lie at one depth either may win: rounding decides
        wrong = (np.abs(values[:, slot] - expected) > 0.05 + 1e-3 * np.abs(expected)).any(0) & mask
        assert wrong.sum() <= 0.02 * mask.sum() + 1


def test_a_full_queue_leaves_out_its_own_slots_last_pixels_only() -> None:
    square = np.array([[0, 0, 0], [20, 0, 0], [20, 16, 0], [0, 16, 0]], np.float32)
    small = square * np.array([0.3, 0.3, 1], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    values = np.zeros((2, 4, 2), np.float32)
    _, _, whole = drawn(np.stack([square, small]), values, triangles)
    _, _, cut = drawn(np.stack([square, small]), values, triangles, pixels=100)
    assert whole[0].sum() == 320 and cut[0].sum() == 100
    assert np.array_equal(whole[1], cut[1])


def test_places_are_handed_out_in_order() -> None:
    count = torch.tensor([[2, 0, 3], [0, 0, 1]], dtype=torch.int32)
    places = torch.arange(12, dtype=torch.int32).view(2, 6)
    item, nth = hand_out(count, places)
    busy = nth < count.view(-1)[item.long()]
    assert item[busy].tolist() == [0, 0, 2, 2, 2, 5]
    assert nth[busy].tolist() == [0, 1, 0, 1, 2, 0]
    assert busy.view(2, 6).sum(1).tolist() == [5, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 20))
def test_coverage(seed: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    # no gap of half a turn, so that the outline does not cross itself
    angle = (np.arange(corners) + rng.uniform(0.0, 0.45, corners)) * (2 * np.pi / corners)
    reach = rng.uniform(2, 9, corners)
    shape = np.stack([12 + reach * np.cos(angle), 9 + reach * np.sin(angle)], -1).astype(np.float32)
    room = Room((1.0, 18 / 24), 24, CPU)
    expected = np.empty((18, 24), np.float32)
    raster.coverage(shape, 0, 0, expected)
    found = coverage(torch.from_numpy(shape)[None], room)[0].numpy()
    assert np.abs(found - expected).max() < 1e-3


def test_coverage_of_lids_that_cross() -> None:
    upper = np.stack([np.linspace(3, 21, 10), 9 + 3 * np.sin(np.linspace(0, 2 * np.pi, 10))], -1)
    shape = np.concatenate([upper, [[21, 9.3], [3, 9.3]]]).astype(np.float32)
    expected = np.empty((18, 24), np.float32)
    raster.coverage(shape, 0, 0, expected)
    found = coverage(torch.from_numpy(shape)[None], Room((1.0, 18 / 24), 24, CPU))[0].numpy()
    assert expected[8, 16] > 0.5 and expected[11, 7] > 0.5, "both turns of the outline count"
    assert np.abs(found - expected).max() < 0.2
    assert np.abs(found - expected).mean() < 1e-3


def test_boxes_and_lines() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(-20, 80, (40, 5, 2)).astype(np.float32)
    box = pixel_box(torch.from_numpy(points), 1.5, 64)
    for i in range(40):
        left, top, right, bottom = raster.pixel_box(points[i], 1.5, 64)
        assert box.corners_B4[i].tolist() == [left, top, right - left, bottom - top]
    lines = np.sort(rng.uniform(0, 20, (4, 3, 6, 1)), axis=2)
    lines = np.concatenate([lines, rng.uniform(0, 9, (4, 3, 6, 1))], -1).astype(np.float32)
    x = torch.arange(-2.0, 24.0)
    found = line_y(torch.from_numpy(lines), x.view(1, 1, 1, -1).expand(4, 3, 1, -1))
    for b in range(4):
        for n in range(3):
            expected = [_line_y(lines[b, n], float(v)) for v in x]
            assert found[b, n, 0].tolist() == pytest.approx(expected, abs=1e-3)
