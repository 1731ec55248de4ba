"""Folds of the face: found in a portrait, taken away with the expression, and nothing else with them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.identity import prepare_identity
from avatar.motion import space
from avatar.render.creases import best_path, fold_depths
from avatar.render.creases_folds import FOLDS, GROUPS, drive_matrix, drives, lines, resample
from avatar.render.creases_pack import Creases, prepare_creases
from avatar.render.creases_skin import face_grid, shade_tint, skin_share, soft_logs
from avatar.render.layers import Layers
from avatar.render.shading import build_shading, fold_weights, own_differences
from avatar.render.underlay import flatten_sides
from avatar.rig.types import FittedRig
from tests.portrait_pictures import astronaut, encoded
from tests.render_samples import identity, rig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


@cache
def smiling() -> tuple[FittedRig, Layers]:
    """NASA's astronaut portrait: an open smile with deep folds."""
    arrays = prepare_identity(encoded(astronaut())).arrays
    return flatten_sides(FittedRig.unpack(arrays)), Layers.unpack(arrays)


def neutral_texture(face_rig: FittedRig, layers: Layers) -> U8:
    shade = build_shading(face_rig, layers.light_4, prepare_creases(layers, face_rig), layers.person_HW4)
    texture = shade.base_HW4.copy()
    shade.apply(face_rig.deform(space.neutral()), space.neutral(), texture)
    return texture


def test_a_smile_takes_its_folds_along() -> None:
    face_rig, layers = smiling()
    before = fold_depths(np.ascontiguousarray(layers.person_HW4[..., :3]), face_rig)
    after = fold_depths(np.ascontiguousarray(neutral_texture(face_rig, layers)[..., :3]), face_rig)
    assert before["nasolabial"] > 0.15
    assert after["nasolabial"] < 0.14 * before["nasolabial"]
    assert after["nasolabial, inner"] < 0.14 * before["nasolabial, inner"]
    assert after["mouth corner"] < before["mouth corner"]


def with_fold(depth: float, *, mole: bool = False) -> U8:
    """The default presenter with a painted nasolabial fold, and a mole beside it."""
    picture = identity().arrays["rgb_HW3"].astype(np.float32)
    landmarks = rig().rest_V3[rig().landmarks_468, :2]
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    for _, points in lines(FOLDS[0], landmarks):
        curve = resample(points, 60)
        away = cKDTree(curve).query(np.stack([x, y], -1))[0]
        picture *= (1.0 - depth * np.exp(-0.5 * (away / (0.012 * rig().face_width)) ** 2))[..., None]
    if mole:
        spot = resample(lines(FOLDS[0], landmarks)[0][1], 3)[1]
        away = np.hypot(x - spot[0] + 0.035 * rig().face_width, y - spot[1])
        picture *= (1.0 - 0.5 * (away < 2.0))[..., None]
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("depth", [0.1, 0.25, 0.4])
def test_a_painted_fold_is_measured(depth: float) -> None:
    plain = fold_depths(identity().arrays["rgb_HW3"], rig())["nasolabial"]
    assert fold_depths(with_fold(depth), rig())["nasolabial"] > plain + 0.25 * depth


def test_a_mole_beside_a_fold_stays() -> None:
    """Taking the fold away changes a portrait with a mole as it changes one without: the mole itself is kept."""
    layers = Layers.unpack(identity().arrays)
    smile = flatten_sides(rig())
    source = smile.source_expression_K.copy()
    source[[space.INDEX["mouthSmileLeft"], space.INDEX["mouthSmileRight"]]] = 0.9
    smile = FittedRig(**{**{k: v for k, v in vars(smile).items() if k != "_deformer"}, "source_expression_K": source})
    kept = []
    for mole in (False, True):
        person = layers.person_HW4.copy()
        person[..., :3] = with_fold(0.3, mole=mole)
        painted = Layers(**{**vars(layers), "person_HW4": person})
        kept.append((person[..., :3].astype(float), neutral_texture(smile, painted)[..., :3].astype(float)))
    (clean_before, clean_after), (mole_before, mole_after) = kept
    spot = np.abs(mole_before - clean_before).max(-1) > 40
    assert spot.any()
    contrast_before = (mole_before / np.maximum(clean_before, 1))[spot].mean()
    contrast_after = (mole_after / np.maximum(clean_after, 1))[spot].mean()
    assert contrast_after < contrast_before + 0.12


def test_what_is_packed_is_what_was_found() -> None:
    face_rig, layers = smiling()
    made = prepare_creases(layers, face_rig)
    again = Creases.unpack(made.pack())
    for group in range(len(GROUPS)):
        (logs, box), (same, same_box) = made.own_logs(group, 1.0, 512), again.own_logs(group, 1.0, 512)
        assert box == same_box and np.array_equal(logs, same)
    grid = face_grid(face_rig)
    layer = again.new_layers(grid)
    assert layer.shape == (len(GROUPS), grid.height, grid.width) and layer.min() < -0.05
    assert sum(a.nbytes for a in made.pack().values()) < 300_000


@pytest.mark.parametrize("name", ["creases.own_N3", "creases.new_N", "creases.tint_3"])
def test_damaged_folds_are_refused(name: str) -> None:
    arrays = prepare_creases(smiling()[1], smiling()[0]).pack()
    with pytest.raises(ValueError, match="prepare the portrait again"):
        Creases.unpack({k: v for k, v in arrays.items() if k != name})
    with pytest.raises(ValueError, match="prepare the portrait again"):
        Creases.unpack({**arrays, name: arrays[name][:-1]})


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_removal_has_the_same_place_at_every_size(scale: float) -> None:
    made = prepare_creases(smiling()[1], smiling()[0])
    logs, (x0, y0, *_) = made.own_logs(0, 1.0, 512)
    other, (u0, v0, u1, v1) = made.own_logs(0, scale, int(512 * scale))
    assert other.shape == (v1 - v0, u1 - u0, 3)

    def centre(values: F32, left: int, top: int, unit: float) -> NDArray[np.float64]:
        weight = np.abs(values).sum(-1)
        y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
        at = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        return np.asarray((at + (left, top) + 0.5) / unit - 0.5)

    assert np.allclose(centre(other, u0, v0, scale), centre(logs, x0, y0, 1.0), atol=0.3)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("size_2", [(1, 1), (1, 9), (9, 1)])
def test_a_fold_as_narrow_as_a_pixel_is_drawn_at_every_size(size_2: tuple[int, int], scale: float) -> None:
    """At other sizes no pixel's middle may lie in such a box."""
    made = prepare_creases(Layers.unpack(identity().arrays), rig())
    width, height = size_2
    for x, y in ((100, 200), (101, 203), (rig().size - width, rig().size - height)):
        own_boxes = np.zeros_like(made.own_boxes_G4)
        own_boxes[0] = x, y, x + width, y + height
        narrow = replace(made, own_boxes_G4=own_boxes, own_N3=np.full((width * height, 3), 0.5, np.float16))
        side = round(rig().size * scale)
        logs, (x0, y0, x1, y1) = narrow.own_logs(0, scale, side)
        assert logs.shape == (y1 - y0, x1 - x0, 3)
        np.testing.assert_allclose(logs, 0.5, atol=1e-3)
        assert all(x * scale - 1 <= v <= (x + width) * scale + 1 for v in (x0, x1)) or logs.size == 0
        texture = np.full((side, side, 4), 128, np.uint8)
        added, _, _ = own_differences(narrow, scale, texture, (0, 0, side, side))
        assert len(added) == logs.shape[0] * logs.shape[1]


def test_weights_are_nothing_at_the_portraits_own_expression() -> None:
    drive = drives(drive_matrix(), rig().source_expression_K)
    for weights in fold_weights(drive, drive):
        assert (weights == 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8), st.floats(0, 1, width=32))
def test_weights_follow_the_drive(source: list[float], now: float) -> None:
    source_G = np.array(source, np.float32)
    own, new = fold_weights(np.full(8, now, np.float32), source_G)
    more_own, more_new = fold_weights(np.full(8, min(now + 0.1, 1.0), np.float32), source_G)
    assert (more_own <= own + 1e-6).all() and (more_new >= new - 1e-6).all()
    assert (np.abs(own) <= 1).all() and (new >= 0).all() and (new <= 1).all()


def test_every_drive_grows_with_its_channels_and_saturates() -> None:
    matrix = drive_matrix()
    assert matrix.shape == (len(GROUPS), space.EXPRESSION_DIM) and (matrix >= 0).all()
    assert (matrix.sum(1) > 0).all()
    low, high = (drives(matrix, np.full(space.EXPRESSION_DIM, v, np.float32)) for v in (0.2, 1.0))
    assert (low < high).all() and (high < 1).all()


def test_left_folds_mirror_right_ones() -> None:
    landmarks = rig().rest_V3[rig().landmarks_468, :2]
    middle = landmarks[[10, 151, 9, 8, 168]].mean(0)[0]
    for fold in FOLDS:
        if not fold.middle:
            (_, right), (_, left) = lines(fold, landmarks)
            assert np.allclose(right[:, 1], left[:, 1], atol=0.05 * rig().face_width)
            assert (right[:, 0] < middle + 2).all() and (left[:, 0] > middle - 2).all()


def test_skin_is_skin_and_lips_and_eyes_are_not() -> None:
    rgb = identity().arrays["rgb_HW3"]
    grid = face_grid(rig())
    logs = soft_logs(rgb, grid)
    share = skin_share(rgb, logs, rig(), grid)
    assert share.min() >= 0 and share.max() <= 1.0001

    def at(landmark: int) -> float:
        x, y = (rig().rest_V3[rig().landmarks_468[landmark], :2] - (grid.left, grid.top)) / grid.step
        return float(share[0, round(float(y)), round(float(x))])

    assert min(at(cheek) for cheek in (50, 280, 151)) > 0.8
    assert max(at(lip) for lip in (0, 17, 13)) < 0.25
    tint = shade_tint(logs, share[0])
    assert np.isfinite(tint).all() and tint[0] < tint[2]  # shade on skin is red
    grey = np.repeat(rgb[..., :1], 3, -1)
    assert np.allclose(shade_tint(soft_logs(grey, grid), share[0]), 1.0, atol=1e-3)


def test_the_best_path_follows_a_ridge() -> None:
    score = np.zeros((30, 21))
    ridge = np.clip(10 + np.cumsum(np.random.default_rng(3).integers(-1, 2, 30)), 1, 19)
    score[np.arange(30), ridge] = 1.0
    assert np.array_equal(best_path(score), ridge)
    assert (best_path(np.zeros((5, 9))) == 4).all()
