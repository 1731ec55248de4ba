"""Whatever the motion, a picture comes out whole: no NaN, no tears, no holes; the same again for the same motion.

Extremes matter: a learned motion model, or a caller's own, may put any number anywhere.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.limits import limit_head
from avatar.render import raster
from avatar.render.decoder import Decoder
from avatar.render.output import FrameFormat, parse_background
from tests.render_samples import identity, motions

F32 = NDArray[np.float32]

SIZE = 256
STEP, STEP_CORNER = 8.0, 24.0
"""Largest step (portrait px, of 256) of the map between neighbours at one depth: for faces, and for all channels at
their ends at once, which no face does."""
SEEN_THROUGH = 0.02
"""Share of the face's opacity that may be missing: a turn widens the soft rim of the portrait's matte."""
SAME_DEPTH = 0.04
"""Face widths between neighbours up to which no edge of the face explains a step."""
HAIR_HOLES = 16
"""px: daylight that strands of hair may enclose when the head turns."""


@cache
def decoder() -> Decoder:
    """Transparent, so that opacity tells what is covered."""
    return Decoder(identity(), format=FrameFormat(SIZE, background=parse_background("transparent")))


@cache
def plain() -> Decoder:
    return Decoder(identity(), size=SIZE)


def corners() -> st.SearchStrategy[F32]:
    """Every number at one of its ends."""
    ends = st.lists(st.booleans(), min_size=space.DIM, max_size=space.DIM)
    return ends.map(lambda high: np.where(high, space.HIGH_D, space.LOW_D).astype(np.float32))


def anything() -> st.SearchStrategy[F32]:
    """Any numbers at all: out of range, infinite, not a number."""
    number = st.floats(width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40])
    return st.lists(number, min_size=space.DIM, max_size=space.DIM).map(lambda v: np.array(v, np.float32))


def face_and_openings(motion_D: F32) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels well inside the face, and those of eyes and mouth with their edges."""
    rig, scale = decoder().rig, SIZE / decoder().rig.size
    skin = rig.deform(limit_head(motion_D, decoder().safe_range_23)).skin_V3[:, :2] * scale + (scale - 1) / 2
    face, openings = np.zeros((2, SIZE, SIZE), np.uint8)
    cv2.fillPoly(face, [np.rint(skin[rig.oval_ring]).astype(np.int32)], 1)
    for ring in (rig.mouth_ring_M, *rig.eye_ring_2E):
        outline = [np.rint(skin[ring]).astype(np.int32)]
        cv2.fillPoly(openings, outline, 1)
        cv2.polylines(openings, outline, True, 1)
    near = np.ones((7, 7), np.uint8)
    return cv2.erode(face, near, borderValue=1) > 0, cv2.dilate(openings, near) > 0


def largest_step(draw: Decoder, where_HW: NDArray[np.bool_]) -> float:
    """Of the map of the last frame, between neighbours of about the same depth, portrait px of SIZE."""
    most = 0.0
    depth = draw._depth_HW
    for axis in (0, 1):
        step = np.abs(np.diff(draw._map_2HW, axis=axis + 1)).max(0)
        both = where_HW[1:] & where_HW[:-1] if axis == 0 else where_HW[:, 1:] & where_HW[:, :-1]
        same = np.abs(np.diff(depth, axis=axis)) < SAME_DEPTH * draw.rig.face_width * SIZE / draw.rig.size
        most = max(most, float(step[both & same].max(initial=0.0)))
    return most


def enclosed(opacity_HW: NDArray[Any]) -> tuple[int, int]:
    """Pixels that show the background though the person is all around them: how many, and the largest patch."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((opacity_HW < 128).astype(np.uint8), connectivity=4)
    areas = [
        int(area)
        for x, y, width, height, area in stats[1:count]
        if x > 0 and y > 0 and x + width < SIZE and y + height < SIZE
    ]
    return sum(areas), max(areas, default=0)


def check_whole(motion_D: F32, step: float) -> None:
    """One picture without NaN, tears or holes."""
    draw = decoder()
    picture = draw.render(motion_D)
    face, openings = face_and_openings(motion_D)
    assert np.isfinite(draw._map_2HW).all()
    assert (draw._depth_HW[face] != raster.FAR).all(), "a hole in the mesh"
    assert 1 - picture[..., 3][face].mean() / 255 < SEEN_THROUGH, "the background shows through the face"
    assert enclosed(picture[..., 3])[0] <= HAIR_HOLES, "holes in the person"
    assert largest_step(draw, face & ~openings) <= step, "the skin is torn"
    skin = picture[..., :3][face & ~openings]
    assert (skin.max(-1) > 12).all(), "black pixels in the skin"


@settings(max_examples=40, deadline=None)
@given(motions())
@example(space.LOW_D.copy())
def test_faces_in_range_are_whole(motion_D: F32) -> None:
    check_whole(motion_D, STEP)


@settings(max_examples=40, deadline=None)
@given(corners())
@example(space.HIGH_D.copy())
@example(np.where(np.arange(space.DIM) % 2, space.HIGH_D, space.LOW_D))
def test_every_channel_at_its_end_at_once_is_whole(motion_D: F32) -> None:
    check_whole(motion_D, STEP_CORNER)


@settings(max_examples=30, deadline=None)
@given(anything())
@example(np.full(space.DIM, np.nan, np.float32))
@example(np.full(space.DIM, np.inf, np.float32))
@example(np.full(space.DIM, -np.inf, np.float32))
def test_numbers_out_of_range_are_clamped_and_counted(motion_D: F32) -> None:
    draw = plain()
    known, before = np.nan_to_num(motion_D, nan=0.0), draw.clamped
    inside = np.isfinite(motion_D) & (motion_D >= space.LOW_D) & (motion_D <= space.HIGH_D)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = draw.render(motion_D)
    assert draw.clamped - before == int((~inside).sum())
    clamped = np.clip(known, space.LOW_D, space.HIGH_D).astype(np.float32)
    before = draw.clamped
    assert np.array_equal(picture, draw.render(clamped))
    assert draw.clamped == before, "a motion in range counts nothing"


def test_numbers_too_large_for_32_bits_are_clamped_without_a_warning() -> None:
    draw = plain()
    wild = np.zeros(space.DIM)
    wild[space.INDEX["jawOpen"]], wild[space.INDEX["headYaw"]] = 1e300, -1e300
    tame = space.neutral()
    tame[space.INDEX["jawOpen"]], tame[space.INDEX["headYaw"]] = 0.6, -1.0
    before = draw.clamped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = draw.render(wild)  # type: ignore[arg-type]
    assert draw.clamped - before == 2
    assert np.array_equal(picture, draw.render(tame))


@settings(max_examples=15, deadline=None)
@given(corners(), motions(), corners())
def test_the_same_motion_gives_the_same_picture_whatever_was_drawn_between(
    motion_D: F32, other_D: F32, last_D: F32
) -> None:
    draw = plain()
    first = draw.render(motion_D)
    draw.render(other_D)
    draw.render(last_D)
    assert np.array_equal(draw.render(motion_D), first)


@settings(max_examples=10, deadline=None)
@given(motions())
def test_a_small_step_of_the_motion_is_a_small_step_of_the_picture(motion_D: F32) -> None:
    draw = plain()
    middle = 0.98 * motion_D
    change = np.abs(draw.render(motion_D).astype(int) - draw.render(middle)).mean()
    assert change < 6.0


def test_the_checks_see_a_tear_and_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = decoder()
    neutral = space.neutral()
    picture = draw.render(neutral)
    face, openings = face_and_openings(neutral)
    assert largest_step(draw, face & ~openings) < STEP and enclosed(picture[..., 3])[0] <= HAIR_HOLES
    rows, columns = np.nonzero(face & ~openings)
    y, x = int(rows[len(rows) // 3]), int(columns[len(rows) // 3])
    draw._map_2HW[0, y : y + 5, x] += 30
    assert largest_step(draw, face & ~openings) > STEP_CORNER
    holed = picture[..., 3].copy()
    holed[y - 3 : y + 3, x - 3 : x + 3] = 0
    assert enclosed(holed)[1] == 36
