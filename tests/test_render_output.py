"""The frame's shape and what stands behind the person."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from avatar.errors import AvatarError
from avatar.render.decoder import Decoder
from avatar.render.output import Background, FrameFormat, Framing, cover, parse_background
from tests.render_samples import identity, motion, rig

TRANSPARENT = Background("transparent")


def draw(shape: FrameFormat, **channels: float) -> np.ndarray:
    return Decoder(identity(), format=shape).render(motion(**channels))


@pytest.mark.parametrize("size", [128, 256, 512, 768, 1024])
def test_upright_frames_are_nine_by_sixteen(size: int) -> None:
    shape = FrameFormat(size, Framing.PORTRAIT)
    assert shape.width * 16 == shape.size * 9 and shape.width % 2 == 0


@pytest.mark.parametrize(("size", "framing"), [(100, "square"), (2000, "square"), (250, "portrait")])
def test_impossible_sizes_are_refused(size: int, framing: str) -> None:
    with pytest.raises(ValueError, match=f"not {size}"):
        FrameFormat(size, Framing(framing))


@given(st.sampled_from([128, 256, 512]), st.floats(-600, 600))
def test_the_window_stays_inside_the_square(size: int, face_x: float) -> None:
    shape = FrameFormat(size, Framing.PORTRAIT)
    assert 0 <= shape.left(face_x) <= size - shape.width


def test_an_upright_frame_is_the_middle_of_the_square_one() -> None:
    square = draw(FrameFormat(256), jawOpen=0.3, headYaw=0.2)
    upright = draw(FrameFormat(256, Framing.PORTRAIT), jawOpen=0.3, headYaw=0.2)
    oval = rig().rest_V3[rig().oval_ring, 0] / 2
    left = FrameFormat(256, Framing.PORTRAIT).left((oval.min() + oval.max()) / 2)
    assert upright.shape == (256, 144, 3)
    assert np.array_equal(upright, square[:, left : left + 144])


def test_transparent_frames_laid_over_the_photo_are_the_photo_frames() -> None:
    # The same person over the plate: by our own blending, and by whoever uses the opacity.
    made = {"jawOpen": 0.4, "headYaw": -0.2, "eyeBlink": 0.4}
    solid, clear = draw(FrameFormat(256), **made), draw(FrameFormat(256, background=TRANSPARENT), **made)
    assert clear.shape == (256, 256, 4)
    plate = Decoder(identity(), size=256)._plate_HW3
    opacity = clear[..., 3:].astype(np.float32) / 255
    laid = clear[..., :3] * opacity + plate * (1 - opacity)
    assert np.abs(laid - solid).max() <= 2
    assert clear[:4, :4, 3].max() == 0 and clear[128, 128, 3] == 255
    assert (clear[clear[..., 3] == 0] == 0).all()


def test_a_colour_stands_where_the_photo_did() -> None:
    frame = draw(FrameFormat(256, background=parse_background("#20C040")))
    clear = draw(FrameFormat(256, background=TRANSPARENT))
    assert (frame[clear[..., 3] == 0] == (0x20, 0xC0, 0x40)).all()


def test_a_picture_fills_the_frame(tmp_path: Path) -> None:
    wide = np.zeros((100, 400, 3), np.uint8)
    wide[:, :200], wide[:, 200:] = (250, 0, 0), (0, 0, 250)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    background = parse_background(str(tmp_path / "wide.png"))
    frame = draw(FrameFormat(256, Framing.PORTRAIT, background))
    assert tuple(frame[2, 2]) == (250, 0, 0) and tuple(frame[2, -3]) == (0, 0, 250)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 90), st.integers(1, 90))
def test_cover_has_the_shape_and_no_border(across: int, down: int, width: int, height: int) -> None:
    covered = cover(np.full((down, across, 3), 77, np.uint8), width, height)
    assert covered.shape == (height, width, 3) and (covered == 77).all()


@pytest.mark.parametrize("text", ["", "green", "#12345", "#12345g", "nowhere.png"])
def test_what_is_no_background_is_explained(text: str) -> None:
    with pytest.raises(AvatarError, match="Use photo, transparent, a colour"):
        parse_background(text)


def test_a_broken_picture_is_no_background(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(AvatarError, match="The background cannot be used"):
        parse_background(str(tmp_path / "b.jpg"))


def test_a_very_long_picture_costs_no_more_than_what_is_seen_of_it(tmp_path: Path) -> None:
    long = np.zeros((96, 60_000, 3), np.uint8)
    long[:, 29_000:31_000] = (10, 200, 30)
    Image.fromarray(long).save(tmp_path / "long.png")
    tracemalloc.start()
    background = parse_background(str(tmp_path / "long.png"))
    plate = FrameFormat(1024, background=background).plate(np.zeros((1024, 1024, 3), np.uint8), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (plate == (10, 200, 30)).all() and peak < 200e6


def test_a_large_picture_is_kept_no_larger_than_any_frame(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000), (5, 6, 7)).save(tmp_path / "large.png")
    background = parse_background(str(tmp_path / "large.png"))
    assert background.rgb_HW3 is not None and background.rgb_HW3.shape == (1024, 1536, 3)


def test_formats_are_equal_when_they_look_the_same() -> None:
    one, same = (FrameFormat(background=parse_background("#102030")) for _ in range(2))
    assert one == same and hash(one) == hash(same)
    assert one != FrameFormat(background=parse_background("#102031")) and one != FrameFormat()


@pytest.mark.parametrize("text", ["Photo", " transparent ", "#ABCDEF "])
def test_case_and_space_do_not_matter(text: str) -> None:
    assert parse_background(text) == parse_background(text.strip().lower())
