"""A portrait taken apart: the parts give it back, and what was hidden is filled in sensibly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avatar.render.eye_layers import complete_iris, lid_steps
from avatar.render.images import fill, sample, vertex_normals
from avatar.render.layers import Layers, face_light, person_layer, solid_face
from avatar.render.plate import background_plate, surely_background
from tests.render_samples import identity, rig


def layers() -> Layers:
    return Layers.unpack(identity().arrays)


def test_person_over_plate_is_the_portrait() -> None:
    parts, portrait = layers(), identity().arrays["rgb_HW3"].astype(float)
    alpha = parts.person_HW4[..., 3:] / 255.0
    again = parts.person_HW4[..., :3] * alpha + parts.plate_HW3 * (1 - alpha)
    away = np.abs(again - portrait).max(-1)
    for eye in rig().eye_ring_2E:  # eyes are painted anew each frame, and taken out of the person
        ring = rig().rest_V3[eye, :2]
        x, y = (ring.min(0) + ring.max(0)) / 2
        reach = np.ptp(ring[:, 0])
        away[int(y - reach) : int(y + reach), int(x - reach) : int(x + reach)] = 0.0
    assert away.mean() < 1.0
    assert np.quantile(away[parts.person_HW4[..., 3] == 255], 0.999) <= 2.0
    assert np.quantile(away[surely_background(identity().arrays["matte_HW"])], 0.99) <= 2.0


def test_the_plate_keeps_nothing_of_the_person() -> None:
    rgb = np.full((64, 64, 3), 90, np.uint8)
    matte = np.zeros((64, 64), np.float32)
    rgb[20:, 20:44] = (250, 10, 10)
    matte[20:, 20:44] = 1.0
    plate = background_plate(rgb, matte)
    assert np.abs(plate.astype(int) - 90).max() <= 8


def test_hair_brings_no_old_background_along() -> None:
    rgb = np.full((64, 64, 3), 255, np.uint8)  # a white wall
    matte = np.zeros((64, 64), np.float32)
    matte[:, 30:34] = np.array([0.75, 0.5, 0.5, 0.25])
    matte[:, :30] = 1.0
    rgb[:] = np.rint(40 * matte + 255 * (1 - matte))[..., None]  # dark hair
    person = person_layer(rgb, matte)
    rim = person[:, 30:34, :3].astype(int)
    assert np.abs(rim - 40).max() < 30


def test_layers_survive_storage() -> None:
    again = Layers.unpack(layers().pack())
    assert np.array_equal(again.person_HW4, layers().person_HW4)
    short = layers().pack()
    del short["render.iris_2SS4"]
    with pytest.raises(ValueError, match=r"render\.iris_2SS4.*prepare the portrait again"):
        Layers.unpack(short)


def test_fill_keeps_what_is_known_and_spreads_it() -> None:
    picture = np.zeros((40, 40, 3), np.float32)
    picture[:, :20] = 100.0
    picture[:, 30:] = 200.0
    known = np.ones((40, 40), np.float32)
    known[:, 20:30] = 0.0
    filled = fill(picture, known)
    assert np.array_equal(filled[known > 0], picture[known > 0])
    assert filled[:, 20:30].min() >= 99.0
    assert filled[:, 20:30].max() <= 201.0
    assert np.isfinite(fill(picture, np.zeros_like(known))).all()


def test_a_half_hidden_iris_is_completed_from_its_visible_half() -> None:
    side, centre, radius = 41, np.array([20.0, 20.0]), 10.0
    yy, xx = np.mgrid[:side, :side]
    truth = np.where(np.hypot(xx - 20, yy - 20) < 4, 10.0, 120.0)[..., None] * np.ones(3)
    clear = yy > 17  # a lid hides the upper part
    hidden = np.where(clear[..., None], truth, 230.0).astype(np.float32)
    whole = complete_iris(hidden, clear, centre, radius)
    disc = np.hypot(xx - 20, yy - 20) < 9
    assert np.abs(whole - truth)[disc].mean() < 8.0
    assert np.abs(whole - truth)[disc & ~clear].mean() < 12.0


def test_light_from_one_side_is_found() -> None:
    normals = vertex_normals(rig().rest_V3, rig().triangles_T3)
    lit = np.full((512, 512, 3), 100, np.uint8)
    lit[:, :256] = 180  # image left is brighter
    light = face_light(lit, rig())
    assert light[1] < -0.05
    assert light[0] + light[3] == pytest.approx(1.0, abs=1e-4)
    assert normals[:, 2].mean() > 0.3


def test_samples_are_bilinear_and_stay_inside() -> None:
    picture = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    assert sample(picture, np.array([[1.5, 1.0]]))[0, 0] == pytest.approx(5.5)
    assert sample(picture, np.array([[-5.0, -5.0]]))[0, 0] == 0.0
    assert sample(picture, np.array([[50.0, 50.0]]))[0, 0] == 11.0


def test_white_beyond_the_tracked_lids_is_measured() -> None:
    person, portrait, tone = rig(), identity().arrays["rgb_HW3"], layers().mouth_tone_43[0]
    rest = person.rest_V3.copy()
    for ring in person.eye_ring_2E:  # pretend that the lids were tracked too tightly
        middle = rest[ring].mean(0)
        rest[ring] = middle + 0.85 * (rest[ring] - middle)
    tight = lid_steps(portrait, replace(person, rest_V3=rest), tone)
    assert tight.mean() > lid_steps(portrait, person, tone).mean() + 0.3
    grey = np.full_like(portrait, 128)
    assert (lid_steps(grey, person, tone) == 0).all()


def test_nothing_shines_through_the_face_and_the_rest_of_the_matte_stays() -> None:
    fitted, matte = rig(), identity().arrays["matte_HW"].astype(np.float32)
    middle = fitted.rest_V3[fitted.oval_ring, :2].mean(0).round().astype(int)
    thin = matte.copy()
    thin[middle[1] - 40 : middle[1] + 40, middle[0] - 60 : middle[0] - 40] = 0.3  # a shiny cheek
    solid = solid_face(thin, fitted)
    assert solid[middle[1] - 40 : middle[1] + 40, middle[0] - 60 : middle[0] - 40].min() == 1.0
    low, high = fitted.rest_V3[:, :2].min(0), fitted.rest_V3[:, :2].max(0)
    outside = np.ones(matte.shape, bool)
    outside[int(low[1]) : int(high[1]) + 2, int(low[0]) : int(high[0]) + 2] = False
    assert np.array_equal(solid[outside], matte[outside])
