"""The decoder as its users see it: any motion gives a whole picture, always the same one, far things untouched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from numpy.typing import NDArray

from avatar.motion import space
from avatar.portrait.store import Identity
from avatar.render import raster
from avatar.render.decoder import Decoder
from avatar.render.output import Background, FrameFormat
from tests.render_samples import decoder, identity, motion, motions, posed
from tests.rig_samples import source_motion

GOLDENS = Path(__file__).parent / "goldens" / "render"


@settings(max_examples=40, deadline=None)
@given(motions())
def test_any_motion_in_range_gives_a_whole_picture(motion_D: NDArray[np.float32]) -> None:
    draw = decoder(256)
    picture = draw.render(motion_D)
    oval = draw.rig.deform(motion_D).skin_V3[draw.rig.oval_ring, :2] * 0.5 - 0.25
    inside = np.zeros((256, 256), np.uint8)
    cv2.fillPoly(inside, [np.rint(oval).astype(np.int32)], 1)
    inside = cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=1)
    assert (draw._depth_HW[inside > 0] != raster.FAR).all(), "holes in the face"
    assert np.isfinite(draw._map_2HW).all()
    assert (picture.max(-1) < 3).sum() <= (identity().arrays["rgb_HW3"].max(-1) < 3).sum() + 4, "black pixels"
    portrait = cv2.resize(identity().arrays["rgb_HW3"], (256, 256), interpolation=cv2.INTER_AREA)
    far = cv2.resize(identity().arrays["matte_HW"], (256, 256), interpolation=cv2.INTER_AREA) == 0
    distance = cv2.distanceTransform(far.astype(np.uint8), cv2.DIST_L2, 5)
    away = distance > 95  # farther from the person than any motion reaches
    assert np.abs(picture.astype(int) - portrait)[away].max(initial=0) <= 3


@settings(max_examples=15, deadline=None)
@given(motions())
@example(posed(0.0, 0.0, 0.0, 0.0, 0.75, 0.5, 0.0, 0.0))
@example(posed(1.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.0, 1.0))
def test_leaving_out_what_shows_nothing_takes_nothing_away(motion_D: NDArray[np.float32]) -> None:
    # Where the head's outskirts fold over clothes, an empty triangle in front would hide them, and tint what is beside.
    clear = FrameFormat(256, background=Background("transparent"))
    draw, whole = (Decoder(identity(), size=256, format=clear) for _ in range(2))
    mesh = whole._mesh
    triangles = np.concatenate([mesh.underlay.triangles_T3, mesh.face_triangles_T3])
    assert len(triangles) > len(mesh.triangles_T3)
    whole._mesh = replace(mesh, triangles_T3=triangles, drawn_rows=np.unique(triangles))
    drawn, all_drawn = draw.render(motion_D).astype(int), whole.render(motion_D).astype(int)
    assert (drawn[..., 3] >= all_drawn[..., 3]).all()
    hidden = (drawn[..., 3] > all_drawn[..., 3]).astype(np.uint8)
    elsewhere = cv2.dilate(hidden, np.ones((5, 5), np.uint8)) == 0
    assert np.abs(drawn - all_drawn)[elsewhere].max() <= 48
    assert (drawn != all_drawn).any(-1).mean() < 0.005


@settings(max_examples=15, deadline=None)
@given(motions(), motions())
def test_a_picture_depends_on_its_motion_alone(motion_D: NDArray[np.float32], other_D: NDArray[np.float32]) -> None:
    draw = decoder(256)
    first = draw.render(motion_D)
    draw.render(other_D)
    assert np.array_equal(draw.render(motion_D), first)


def test_the_portraits_own_expression_gives_the_portrait() -> None:
    draw = decoder(512)
    picture = draw.render(source_motion(draw.rig)).astype(int)
    portrait = identity().arrays["rgb_HW3"].astype(int)
    difference = np.abs(picture - portrait).mean(-1)
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.99) < 25


def test_sessions_share_an_identity() -> None:
    shared = identity()
    frozen = Identity({name: array.copy() for name, array in shared.arrays.items()}, shared.meta)
    for array in frozen.arrays.values():
        array.flags.writeable = False
    decoders = [Decoder(frozen, size=256) for _ in range(3)]
    turns = [motion(headYaw=float(yaw), jawOpen=0.3) for yaw in np.linspace(-0.2, 0.2, 5)]
    expected = [decoder(256).render(turn) for turn in turns]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda draw: [draw.render(turn) for turn in turns], decoders))
    for pictures in results:
        for picture, truth in zip(pictures, expected, strict=True):
            assert np.array_equal(picture, truth)


def test_drawing_into_a_given_picture() -> None:
    draw = decoder(256)
    out = np.zeros((256, 256, 3), np.uint8)
    assert draw.render(motion(), out) is out
    assert np.array_equal(out, draw.render(motion()))
    for wrong in (np.zeros((128, 128, 3), np.uint8), np.zeros((256, 256, 3), np.float32), out[:, ::-1]):
        with pytest.raises(ValueError, match="contiguous uint8"):
            draw.render(motion(), wrong)  # type: ignore[arg-type]


def test_motion_out_of_range_is_clamped_and_counted() -> None:
    draw = Decoder(identity(), size=128)
    wild = motion(headYaw=3.0, jawOpen=9.0)
    wild[space.INDEX["headPitch"]] = np.nan
    picture = draw.render(wild)
    assert draw.clamped == 3
    assert np.array_equal(picture, draw.render(motion(headYaw=9.0, jawOpen=0.6)))
    with pytest.raises(ValueError, match="52 numbers"):
        draw.render(np.zeros(51, np.float32))


def test_sizes() -> None:
    large = cv2.resize(decoder(512).render(motion(jawOpen=0.3)), (256, 256), interpolation=cv2.INTER_AREA)
    small = decoder(256).render(motion(jawOpen=0.3))
    assert np.abs(large.astype(int) - small).mean() < 3.0
    for size in (64, 4096):
        with pytest.raises(ValueError, match="frame size"):
            Decoder(identity(), size=size)


def test_an_identity_without_its_parts_is_refused_by_name() -> None:
    arrays = dict(identity().arrays)
    del arrays["rig.rest_V3"]
    with pytest.raises(ValueError, match=r"rig\.rest_V3"):
        Decoder(Identity(arrays))


def test_layers_are_prepared_when_an_identity_has_none() -> None:
    bare = Identity({name: a for name, a in identity().arrays.items() if not name.startswith("render.")})
    assert np.array_equal(Decoder(bare, size=128).render(motion()), Decoder(identity(), size=128).render(motion()))


def test_timings_name_every_stage() -> None:
    draw = decoder(256)
    draw.render(motion(jawOpen=0.3))
    assert set(draw.timings) == {"deform", "mesh", "raster", "shade", "warp", "edges", "eyes", "mouth", "total"}
    stages = sum(ms for stage, ms in draw.timings.items() if stage != "total")
    assert stages == pytest.approx(draw.timings["total"], rel=0.2, abs=0.5)


@pytest.mark.parametrize("golden", sorted(GOLDENS.glob("*.jpg")), ids=lambda path: path.stem)
def test_pictures_look_as_they_did(golden: Path) -> None:
    """Renew on purpose with scripts/renew_goldens.py, after looking at what changed."""
    from scripts.contact_sheet import POSES
    from scripts.contact_sheet import motion as pose

    known = cv2.imread(str(golden))[..., ::-1].astype(int)
    drawn = decoder(256).render(pose(POSES[golden.stem.replace("_", " ")])).astype(int)
    difference = np.abs(drawn - known).mean(-1)
    assert difference.mean() < 2.0
    assert (difference > 40).mean() < 0.002


def test_goldens_exist() -> None:
    assert len(list(GOLDENS.glob("*.jpg"))) >= 6
