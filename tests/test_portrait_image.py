"""Any file becomes upright RGB or a clear refusal, quickly."""

from __future__ import annotations

import io
import random
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from avatar.errors import PortraitError
from avatar.portrait.image import BACKDROP, MAX_BYTES, MAX_PIXELS, load_image
from tests.portrait_pictures import astronaut, encoded


def refused(source: str | Path | bytes) -> PortraitError:
    with pytest.raises(PortraitError) as caught:
        load_image(source)
    assert caught.value.message and caught.value.hint, "every refusal says what is wrong and what to do"
    return caught.value


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and then holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_formats(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.bin"
    path.write_bytes(encoded(astronaut(), kind))
    image = load_image(path)
    assert image.rgb_HW3.shape == (512, 512, 3) and image.rgb_HW3.dtype == np.uint8
    assert image.source == "picture.bin" and image.alpha_HW is None and not image.warnings
    assert np.abs(image.rgb_HW3.astype(int) - astronaut()).mean() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = Image.fromarray(astronaut()[:, :400])
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(encoded(stored, "PNG", exif=exif.tobytes()))
    np.testing.assert_array_equal(image.rgb_HW3, astronaut()[:, :400])


def test_alpha_is_composited_and_kept() -> None:
    alpha = np.zeros((512, 512), np.uint8)
    alpha[100:400, 50:300] = 255
    alpha[0:100, 0:100] = 128
    image = load_image(encoded(Image.fromarray(np.dstack([astronaut(), alpha]))))
    assert image.alpha_HW is not None
    np.testing.assert_array_equal(image.alpha_HW, alpha)
    np.testing.assert_array_equal(image.rgb_HW3[100:400, 50:300], astronaut()[100:400, 50:300])
    assert (image.rgb_HW3[450, 450] == BACKDROP).all()
    half = (astronaut()[50, 50].astype(int) + BACKDROP) / 2
    assert np.abs(image.rgb_HW3[50, 50] - half).max() <= 2


def test_opaque_alpha_is_no_hint() -> None:
    opaque = np.dstack([astronaut(), np.full((512, 512), 255, np.uint8)])
    assert load_image(encoded(Image.fromarray(opaque))).alpha_HW is None


def test_palette_with_transparency() -> None:
    image = Image.fromarray(astronaut()).quantize(64)
    corner = image.getpixel((500, 10))
    loaded = load_image(encoded(image, "PNG", transparency=corner))
    assert loaded.alpha_HW is not None and 0 < int((loaded.alpha_HW == 0).sum()) < 200_000
    assert (loaded.rgb_HW3[loaded.alpha_HW == 0] == BACKDROP).all()


def test_greys_of_every_depth_agree() -> None:
    grey = np.asarray(Image.fromarray(astronaut()).convert("L"))
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(load_image(encoded(grey)).rgb_HW3, expected)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(load_image(encoded(deep)).rgb_HW3, expected)
    fraction = Image.fromarray(((grey - grey.min()) / np.ptp(grey)).astype(np.float32))
    stretched = np.rint((grey.astype(float) - grey.min()) / np.ptp(grey) * 255)
    assert np.abs(load_image(encoded(fraction, "TIFF")).rgb_HW3[..., 0] - stretched).max() <= 1
    transparent = Image.fromarray(np.dstack([grey, np.where(grey > 128, 255, 0).astype(np.uint8)]))
    assert load_image(encoded(transparent)).alpha_HW is not None


def test_cmyk_and_colour_profiles_become_srgb() -> None:
    cmyk = load_image(encoded(Image.fromarray(astronaut()).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(cmyk.rgb_HW3.astype(int) - astronaut()).mean() < 8
    lab_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = load_image(encoded(astronaut(), "PNG", icc_profile=lab_profile))
    assert np.abs(same.rgb_HW3.astype(int) - astronaut()).max() <= 2
    broken = load_image(encoded(astronaut(), "PNG", icc_profile=b"no profile at all"))
    np.testing.assert_array_equal(broken.rgb_HW3, astronaut())


def test_animation_uses_the_first_frame_and_says_so() -> None:
    frames = [Image.fromarray(astronaut()), Image.fromarray(astronaut()[::-1])]
    image = load_image(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))
    np.testing.assert_array_equal(image.rgb_HW3, astronaut())
    assert any("first frame" in warning for warning in image.warnings)


def test_missing_and_unsuitable_paths(tmp_path: Path) -> None:
    assert refused(tmp_path / "nobody.jpg").code == "not_found"
    assert refused("nul\0byte.jpg").code == "not_found"
    assert refused(tmp_path).code == "not_an_image"
    assert refused("/dev/zero").code == "not_an_image"
    assert refused("x" * 5000).code in {"not_found", "not_readable"}


@pytest.mark.parametrize(
    "content",
    [b"", b"Dear visitor, this is a letter.", b"%PDF-1.7 ...", b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage", b"\0" * 4096],
)
def test_not_an_image(content: bytes) -> None:
    assert refused(content).code == "not_an_image"


def test_heic_is_named() -> None:
    error = refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100)
    assert error.code == "not_an_image" and "HEIC" in error.message


def test_bombs_are_refused_before_they_are_decoded() -> None:
    for width, height in [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS // 100 + 1, 100)]:
        start = time.perf_counter()
        assert refused(png_header(width, height)).code == "too_many_pixels"
        assert time.perf_counter() - start < 1.0


def test_huge_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert refused(path).code == "too_many_bytes"


def test_tiny_pictures_are_refused() -> None:
    assert refused(encoded(astronaut()[:95])).code == "too_small"
    assert load_image(encoded(astronaut()[:96])).rgb_HW3.shape == (96, 512, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_truncated(kind: str) -> None:
    content = encoded(astronaut(), kind)
    assert refused(content[: len(content) // 2]).code in {"truncated", "corrupt"}
    if kind in {"PNG", "JPEG"}:
        assert refused(content[: len(content) // 2]).code == "truncated"


def test_damage_is_called_corrupt() -> None:
    content = bytearray(encoded(astronaut()))
    content[2000:2100] = bytes(100)
    assert refused(bytes(content)).code == "corrupt"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_mutated_files_are_read_or_refused_but_never_crash_or_hang(kind: str) -> None:
    """Invariant: whatever the bytes, load_image answers within a second with a picture or a PortraitError."""
    rng = random.Random(f"visavis {kind}")
    original = encoded(Image.fromarray(astronaut()).resize((128, 128)), kind)
    codes = set()
    for _ in range(80):
        content = bytearray(original)
        for _ in range(rng.choice([1, 3, 20])):
            place = rng.randrange(min(len(content), rng.choice([64, 1024, len(content)])))
            content[place] = rng.randrange(256)
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        if rng.random() < 0.2:
            place = rng.randrange(len(content) + 1)
            content[place:place] = rng.randbytes(rng.randrange(1, 200))
        start = time.perf_counter()
        try:
            image = load_image(bytes(content))
        except PortraitError as error:
            codes.add(error.code)
        else:
            assert image.rgb_HW3.ndim == 3 and image.rgb_HW3.shape[2] == 3 and image.rgb_HW3.dtype == np.uint8
        assert time.perf_counter() - start < 2.0
    assert codes <= {"not_an_image", "corrupt", "truncated", "too_many_pixels", "too_small"}


def test_reading_leaves_pillows_limits_alone() -> None:
    before = Image.MAX_IMAGE_PIXELS
    load_image(io.BytesIO(encoded(astronaut())).getvalue())
    assert before == Image.MAX_IMAGE_PIXELS
