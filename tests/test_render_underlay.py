"""Around the face: welded to its rim, covering the frame in any pose, still where the shoulders are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.render import raster
from avatar.render.collar import collar_line
from avatar.render.decoder import Decoder
from avatar.render.layers import Layers
from avatar.render.output import Background, FrameFormat
from avatar.render.underlay import (
    BREATH,
    RINGS,
    SKIRT,
    TORSO_SHARE,
    Underlay,
    build_underlay,
    deform_underlay,
    flatten_sides,
    silhouette,
)
from avatar.rig.types import FittedRig
from tests.render_samples import decoder, identity, motion, motions, rig
from tests.rig_samples import sample_rig


@cache
def flat() -> tuple[FittedRig, Underlay]:
    relief = flatten_sides(rig())
    return relief, build_underlay(relief, collar_line(Layers.unpack(identity().arrays).person_HW4, relief))


def posed(motion_D: NDArray[np.float32]) -> NDArray[np.float32]:
    relief, underlay = flat()
    return deform_underlay(underlay, relief, relief.deform(motion_D))


def rings(rows_U: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values of all vertices by ring, without the skirt; [R, J, ...]."""
    count = len(flat()[1].oval_J)
    return rows_U[: RINGS * count].reshape(RINGS, count, *rows_U.shape[1:])


def test_flattening_moves_depth_only() -> None:
    before, after = rig(), flat()[0]
    assert np.array_equal(before.rest_V3[:, :2], after.rest_V3[:, :2])
    lift = after.rest_V3[:, 2] - before.rest_V3[:, 2]
    assert lift.min() >= 0.0
    assert lift[before.oval_ring].max() > 0.1 * before.face_width
    assert lift[before.mouth_ring_M].max() < 0.01 * before.face_width
    assert np.allclose(after.neutral_V3 - before.neutral_V3, after.rest_V3 - before.rest_V3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(motions())
def test_the_inner_ring_is_the_skins_rim(motion_D: NDArray[np.float32]) -> None:
    relief, underlay = flat()
    face = relief.deform(motion_D)
    points = deform_underlay(underlay, relief, face)
    assert np.array_equal(points[: len(underlay.oval_J)], face.skin_V3[underlay.oval_J])


def test_no_skin_lies_outside_the_rim() -> None:
    # Skin beyond the ring would be drawn twice: by itself and, as a ghost of the outline, by the underlay.
    relief = flat()[0]
    bulge = relief.rest_V3.copy()
    outline = relief.rest_V3[relief.oval_ring, :2]
    middle = outline.mean(0)
    inside = np.setdiff1d(np.arange(len(bulge)), relief.oval_ring)
    cheek = inside[np.linalg.norm(relief.rest_V3[inside, :2] - outline[20], axis=1).argmin()]
    bulge[cheek, :2] = middle + 1.04 * (outline[20] - middle)
    for of, allowed in ((relief, 0.006), (replace(relief, rest_V3=bulge), 0.006)):
        ring = of.rest_V3[silhouette(of), :2].astype(np.float32)
        beyond = [-cv2.pointPolygonTest(ring, (float(x), float(y)), True) for x, y in of.rest_V3[:, :2]]
        assert max(beyond) < allowed * of.face_width
    assert cheek in silhouette(replace(relief, rest_V3=bulge)) and cheek not in silhouette(relief)


def cracked() -> NDArray[np.float32]:
    """A pulled mouth in a rolled head: without the skirt one pixel of the wall shows through at the rim."""
    return motion(
        mouthLeft=0.703125,
        mouthPressLeft=0.015625,
        headYaw=0.051555484533309937,
        headPitch=0.09817478060722351,
        headRoll=-0.1745329201221466,
        headX=-0.0419921875,
        headY=-0.125,
        headLogScale=0.2269400656223297,
        gazeAzimuth=-0.3490658402442932,
        gazeElevation=-0.20943951606750488,
    )


@cache
def turned() -> tuple[FittedRig, Underlay]:
    """A portrait with a turned head: without the skirt, every third motion opens a crack at its rim."""
    relief = flatten_sides(sample_rig("turned"))
    return relief, build_underlay(relief)


def drawn(
    motion_D: NDArray[np.float32], skirt: bool = True, of: tuple[FittedRig, Underlay] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Depth and source coordinates of all that covers the frame: around the face, skin, closed mouth and eyes."""
    relief, underlay = of or flat()
    face = relief.deform(motion_D)
    points = np.concatenate([deform_underlay(underlay, relief, face), face.skin_V3])
    source = np.concatenate([underlay.rest_U3, relief.rest_V3])[:, :2].copy()
    holes = [relief.mouth_ring_M, *relief.eye_ring_2E]
    first = len(underlay.rest_U3)
    around = underlay.triangles_T3
    if not skirt:
        around = around[(around < RINGS * len(underlay.oval_J)).all(1)]
    lids = [np.array([[ring[0], ring[i], ring[i + 1]] for i in range(1, len(ring) - 1)]) for ring in holes]
    triangles = np.concatenate([around, relief.triangles_T3 + first, *(lid + first for lid in lids)])
    depth = np.empty((relief.size, relief.size), np.float32)
    raster.clear(depth)
    out = np.empty((2, *depth.shape), np.float32)
    raster.raster_map(points, source, triangles.astype(np.int32), depth, out)
    return depth, out


@settings(max_examples=30, deadline=None)
@given(motions())
@example(cracked())
def test_no_motion_uncovers_the_frame(motion_D: NDArray[np.float32]) -> None:
    assert (drawn(motion_D)[0] != raster.FAR).all()


@settings(max_examples=30, deadline=None)
@given(motions())
def test_nor_beside_a_portraits_turned_head(motion_D: NDArray[np.float32]) -> None:
    assert (drawn(motion_D, of=turned())[0] != raster.FAR).all()


def test_without_the_skirt_cracks_open() -> None:
    # if not, what the tests above look for does not exist
    sizes = [motion(headLogScale=size) for size in np.linspace(-0.2, 0.2, 10)]
    open_px = sum(int((drawn(motion_D, False, turned())[0] == raster.FAR).sum()) for motion_D in sizes)
    assert open_px > 3


@settings(max_examples=30, deadline=None)
@given(motions())
@example(cracked())
def test_the_skirt_shows_nothing_but_what_belongs_there(motion_D: NDArray[np.float32]) -> None:
    (depth, source), (before, wanted) = drawn(motion_D), drawn(motion_D, skirt=False)
    changed = depth != before
    assert changed.sum() <= 4
    assert np.abs(source - wanted)[:, changed & (before != raster.FAR)].max(initial=0) < 1.0  # px


def test_the_skirt_lies_inside_the_rim() -> None:
    relief, underlay = flat()
    count = len(underlay.oval_J)
    rim, skirt = underlay.rest_U3[:count, :2], underlay.rest_U3[-count:, :2]
    middle = rim.mean(0)
    inward = np.linalg.norm(rim - middle, axis=1) - np.linalg.norm(skirt - middle, axis=1)
    assert np.allclose(inward, SKIRT * relief.face_width, atol=0.01)


def test_shoulders_stay_when_the_head_turns() -> None:
    _, underlay = flat()
    still = posed(motion())
    low = (underlay.rest_U3[:, 1] > 0.93 * flat()[0].size) & (underlay.rest_U3[:, 1] < flat()[0].size)
    assert low.sum() > 5
    for turn in (motion(headYaw=0.26), motion(headPitch=-0.17), motion(headRoll=0.17)):
        assert np.abs(posed(turn) - still)[low, :2].max() < 1.0


def test_hair_goes_with_the_head() -> None:
    relief, _ = flat()
    count = len(relief.oval_ring)
    top = int(np.argmin(relief.rest_V3[relief.oval_ring, 1]))
    crown = 3 * count + top
    moved = posed(motion(headX=0.1)) - posed(motion())
    assert moved[crown, 0] > 0.95 * 0.1 * relief.face_width


def test_a_dropping_jaw_draws_the_neck_along_less_and_less() -> None:
    relief, underlay = flat()
    chin = int(np.argmax(relief.rest_V3[relief.oval_ring, 1]))
    drop = rings(posed(motion(jawOpen=0.6)) - posed(motion()))[:, chin, 1]
    assert drop[0] > 0.03 * relief.face_width
    assert (np.diff(drop[:6]) <= 1e-3).all()
    assert abs(drop[8]) < 0.1 * drop[0]
    assert underlay.drag_UJ.min() >= 0.0


TURNS = [
    motion(headYaw=0.26),
    motion(headPitch=-0.17),
    motion(headPitch=0.17),
    motion(headRoll=0.17),
    motion(headYaw=0.26, headPitch=0.17, headRoll=-0.17),
    motion(headYaw=-0.26, headPitch=-0.17, headRoll=0.17),
]


def test_clothes_stay_and_the_neck_slides_in_the_collar() -> None:
    relief, underlay = flat()
    found = collar_line(Layers.unpack(identity().arrays).person_HW4, relief)
    assert found is not None
    across, down = found
    axis = relief.R_source_33[:2, 1] / np.linalg.norm(relief.R_source_33[:2, 1])
    at, low = underlay.rest_U3[:, :2] @ np.array([axis[1], -axis[0]]), underlay.rest_U3[:, :2] @ axis
    clothes = (low > np.interp(at, across, down) + 4) & (np.abs(at - across.mean()) < 0.3 * relief.face_width)
    assert clothes.sum() > 10
    for turn in TURNS:
        assert np.abs(posed(turn) - posed(motion()))[clothes, :2].max() < 0.5


def test_head_motion_fades_down_the_neck() -> None:
    relief, underlay = flat()
    chin = int(np.argmax(relief.rest_V3[relief.oval_ring, 1]))
    follow = rings(underlay.follow_U)[:, chin]
    assert (np.diff(follow) <= 1e-6).all() and follow[0] == 1.0
    for turn in TURNS:
        way = np.linalg.norm(rings(posed(turn) - posed(motion()))[:, chin, :2], axis=1)
        assert (np.diff(way) < 0.01 * relief.face_width).all(), "no swing further down than above"
        assert way[-1] < 0.01


def test_no_kink_where_jaw_meets_neck() -> None:
    """Across the rim the displacement changes gently: beside the skin's edge nearly as much as on it."""
    rest = rings(flat()[1].rest_U3)[..., :2]
    gap = np.linalg.norm(np.diff(rest[:5], axis=0), axis=-1)
    for turn in TURNS:
        moved = rings(posed(turn) - posed(motion()))[..., :2]
        slope = np.linalg.norm(np.diff(moved[:5], axis=0), axis=-1) / gap
        assert slope[:2].max() < 0.5, "at the rim"
        assert slope.max() < 1.25, "down the neck, at most this shear"


def folded(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Triangles that the motion turned over."""
    underlay = flat()[1]

    def area(at: NDArray[np.float32]) -> NDArray[np.float32]:
        a, b, c = (at[underlay.triangles_T3[:, i], :2] for i in range(3))
        return np.asarray((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])

    before = area(underlay.rest_U3)
    return np.asarray(area(points) * np.sign(before) < -0.02 * np.abs(before))


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.26, 0.26), st.floats(-0.17, 0.17), st.floats(-0.17, 0.17), st.floats(-0.1, 0.1))
def test_turns_fold_next_to_nothing(yaw: float, pitch: float, roll: float, shift: float) -> None:
    points = posed(motion(headYaw=yaw, headPitch=pitch, headRoll=roll, headX=shift, headY=-shift))
    assert folded(points).mean() < 0.02


def test_breathing_lifts_the_shoulders_more_than_the_head() -> None:
    relief, underlay = flat()
    width = relief.face_width
    lift = posed(motion(headY=-0.004)) - posed(motion(headY=0.004))
    shoulders = underlay.torso_U * (1 - underlay.follow_U) > 0.95
    assert shoulders.sum() > 5
    moved = -lift[shoulders, 1]
    assert moved.min() > 0.008 * width
    assert moved.max() < 0.03 * width
    assert np.abs(lift[underlay.rest_U3[:, 1] >= relief.size, 1]).max() < 0.01, "nothing moves at the lower border"
    lean = posed(motion(headY=0.25)) - posed(motion())
    assert lean[shoulders, 1].max() < (0.25 * TORSO_SHARE[1] + BREATH + 0.05 * 0.25) * width + 0.1


@settings(max_examples=15, deadline=None)
@given(motions())
def test_background_beyond_the_person_is_the_still_plate(motion_D: NDArray[np.float32]) -> None:
    opacity = glass().render(motion_D)[..., 3]
    picture = decoder().render(motion_D)
    plate = cv2.resize(identity().arrays["render.plate_HW3"], (256, 256), interpolation=cv2.INTER_AREA)
    assert np.array_equal(picture[opacity == 0], plate[opacity == 0])
    assert (opacity == 0).mean() > 0.1


@cache
def glass() -> Decoder:
    return Decoder(identity(), format=FrameFormat(256, background=Background("transparent")))
