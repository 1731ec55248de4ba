"""A portrait's own teeth: found, taken out of the smile's light, joined to drawn ones, and gone from its lips."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.render.images import LUMA
from avatar.render.layers import lips_without_mouth
from avatar.render.mouth_atlas import TILES, mouth_tones, paint_arch, tile
from avatar.render.mouth_light import AMBIENT, opening_lights
from avatar.render.mouth_own import join, paint_mouth, unlit
from avatar.rig.mouth import UPPER
from avatar.rig.mouth_fit import tooth_mask
from avatar.rig.types import FittedRig, Part
from tests.render_samples import decoder
from tests.rig_samples import motion
from tests.test_rig_mouth_fit import LIP, WHITE, smiling

LIGHT = np.array([0.7, 0.0, 0.0, 0.3], np.float32)
EYE = np.array([190, 180, 170], np.float32)


@cache
def open_smile() -> tuple[FittedRig, NDArray[np.uint8]]:
    """A drawn portrait with an open smile, and a rig whose rest is that smile."""
    rig, picture, _ = smiling()
    face = rig.deform(motion(jawOpen=0.12, mouthSmile=0.6, mouthUpperUp=0.5, mouthLowerDown=0.6))
    return replace(rig, rest_V3=face.skin_V3), picture


def test_seen_teeth_become_the_picture_in_their_own_colour() -> None:
    rig, picture = open_smile()
    lip_M3 = np.tile(np.array(LIP, np.float32), (len(rig.mouth_ring_M), 1))
    atlas, tones = paint_mouth(picture, rig, EYE, lip_M3, LIGHT)
    assert np.abs(tones[0] - WHITE).max() < 40
    front = tile(atlas, Part.TEETH_UPPER)[40:60, 130:190].astype(float)
    assert np.abs(front.mean((0, 1)) - WHITE).max() < 30
    assert front.std((0, 1)).max() < 14  # the portrait's teeth have no gaps: none are drawn over them
    grey = np.full_like(picture, 150)
    drawn, _ = paint_mouth(grey, rig, EYE, lip_M3, LIGHT)
    assert np.ptp(tile(drawn, Part.TEETH_UPPER)[40:60, 130:190].astype(float) @ LUMA) > 20  # drawn ones have


def test_a_row_that_is_partly_hidden_is_drawn_in_its_colour() -> None:
    rig, picture = open_smile()
    lip_M3 = np.tile(np.array(LIP, np.float32), (len(rig.mouth_ring_M), 1))
    ring = rig.rest_V3[rig.mouth_ring_M, :2]
    hidden = picture.copy()
    hidden[:, round(float(ring[:, 0].mean() + 0.25 * np.ptp(ring[:, 0]))) :] = LIP
    atlas, tones = paint_mouth(hidden, rig, EYE, lip_M3, LIGHT)
    assert np.abs(tones[0] - WHITE).max() < 40  # found
    row = tile(atlas, Part.TEETH_UPPER).astype(int)
    assert np.abs(row - row[:, ::-1]).max() <= 2  # drawn: seen teeth would be on one side only


def test_light_is_taken_off_as_it_is_put_on() -> None:
    deep = np.array([55, 22, 20], np.float32)
    albedo = np.full((4, 5, 3), (220, 205, 190), np.float32)
    light = np.linspace(0.8, 1.0, 20, dtype=np.float32).reshape(4, 5)
    lit = deep + (albedo - deep) * light[..., None]
    assert unlit(lit, light, deep) == pytest.approx(albedo, abs=0.1)


def test_own_and_drawn_teeth_join_without_a_seam() -> None:
    _, _, width, height = TILES[Part.TEETH_UPPER]
    drawn = np.full((height, width, 3), 200, np.float32)
    own = np.full((height, width, 3), 170, np.float32)
    seen = np.zeros((height, width), np.uint8)
    seen[20:, 100:220] = 1
    out = join(drawn, own, seen)
    assert out[40, 160] == pytest.approx(170, abs=1)
    assert out[40, 5] == pytest.approx(200, abs=12)
    assert np.abs(np.diff(out, axis=1)).max() < 6 and np.abs(np.diff(out, axis=0)).max() < 6


def test_lips_keep_no_tooth_of_an_open_smile() -> None:
    rig, picture = open_smile()
    ring = rig.rest_V3[rig.mouth_ring_M, :2]
    assert tooth_mask(picture, ring, rig.face_width)[0].max() > 0.9
    filled = lips_without_mouth(picture, rig)
    inside = tooth_mask(picture, ring, rig.face_width)[0] > 0.5
    assert (filled[inside].astype(int) - LIP).max() < 25  # lip, no tooth
    assert np.array_equal(filled[:100], picture[:100])
    closed = decoder().rig
    portrait = np.random.default_rng(3).integers(0, 255, (closed.size, closed.size, 3)).astype(np.uint8)
    assert lips_without_mouth(portrait, closed) is portrait  # closed lips stay as they are


def test_less_light_in_small_openings_and_at_depth() -> None:
    def light(y: float, opening: float, behind: float) -> float:
        at, upper, lower, depth = (np.array([v], np.float32) for v in (y, 0.0, opening, behind))
        return float(opening_lights(at, upper, lower, depth, 200.0)[0])

    assert light(15, 30, 2) > light(1.5, 3, 2) > light(0.5, 1, 2) >= AMBIENT
    assert light(15, 30, 2) >= light(15, 30, 20) > light(15, 30, 60)
    assert light(1, 30, 10) < light(15, 30, 10)  # the upper lip's shadow
    assert light(-40, 30, 2) == pytest.approx(AMBIENT, abs=0.02)


def test_tones_are_warm_in_coloured_pictures_and_grey_in_grey_ones() -> None:
    rig, picture = open_smile()
    lip_M3 = np.tile(np.array(LIP, np.float32), (len(rig.mouth_ring_M), 1))
    bluish = np.array([160, 170, 190], np.float32)
    for eye in (EYE, bluish):
        tones = mouth_tones(eye, picture, rig, lip_M3)
        for tissue in (tones.red_3, tones.deep_3):
            assert tissue[0] > 1.4 * tissue[1] and tissue[0] > 1.4 * tissue[2]  # red, whatever the eyes' white
        assert tones.deep_3 @ LUMA < 0.25 * tones.bright
        assert tones.deep_3[0] > 35.0  # dark, never black
    grey = np.repeat(picture @ LUMA, 3).reshape(picture.shape).astype(np.uint8)
    grey_lips = np.repeat(lip_M3 @ LUMA, 3).reshape(-1, 3).astype(np.float32)
    tones = mouth_tones(np.full(3, 150, np.float32), grey, rig, grey_lips)
    for colour in (tones.enamel_3, tones.red_3 * 100, tones.deep_3):
        assert np.ptp(colour) < 0.03 * colour.max() + 0.5


def test_drawn_teeth_are_never_pink_and_lie_in_the_shade_of_the_lips() -> None:
    rig, picture = open_smile()
    flushed = np.empty_like(picture)
    flushed[:] = 235, 160, 175
    lips = np.tile(np.array(LIP, np.float32), (len(rig.mouth_ring_M), 1))
    enamel = mouth_tones(np.array([200, 180, 195], np.float32), flushed, rig, lips).enamel_3
    assert enamel[1] > 0.49 * (enamel[0] + enamel[2])
    shade = mouth_tones(EYE, picture, rig, lips * 0.3)
    assert shade.bright < 0.6 * mouth_tones(EYE, picture, rig, lips).bright


def test_crowns_are_told_apart_softly() -> None:
    enamel = np.array([230, 220, 200], np.float32)
    gum = np.array([180, 100, 95], np.float32)
    row = paint_arch(UPPER, enamel, gum, 0.1)[48] @ LUMA
    front = row[110:210]
    assert 0.03 < 1 - front.min() / front.max() < 0.35  # gaps, but no black lines
    assert np.abs(np.diff(front)).max() < 0.1 * front.max()
