"""Any picture file as an upright 8-bit RGB portrait, or a clear refusal.

Limits: at most 64 megapixels (checked in the header, before anything is decoded), at most 64 MiB, at least 96 px on
the shorter side. Formats: JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, AVIF. Formats that can run programs (EPS, ...)
are never opened.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from avatar.errors import PortraitError

U8 = NDArray[np.uint8]

MAX_PIXELS: Final = 64_000_000
MAX_BYTES: Final = 64 * 2**20
MIN_SIDE: Final = 96
BACKDROP: Final = (128, 128, 128)
"""Neutral grey behind transparent pixels."""
Image.init()
_FORMATS: Final = tuple(
    name for name in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "AVIF") if name in Image.OPEN
)
_USE: Final = "Use a JPEG, PNG or WebP photograph."
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints its remarks on damaged files itself
_STDERR: Final = 2
_QUIET = threading.Lock()
_ANIMATED: Final = {"GIF", "WEBP", "PNG", "AVIF"}


@dataclass(frozen=True)
class PortraitImage:
    """A decoded picture.

    rgb_HW3: uint8 sRGB, upright, transparency composited on neutral grey.
    alpha_HW: uint8 opacity when the file really has transparent pixels, else None; a hint for the person matte.
    source: what to call it in messages.
    warnings: sentences for the user.
    """

    rgb_HW3: U8
    alpha_HW: U8 | None = None
    source: str = "the picture"
    warnings: list[str] = field(default_factory=list)


def load_image(source: str | Path | bytes) -> PortraitImage:
    """Read a file or the bytes of one.

    PortraitError codes: not_found, not_readable, not_an_image, too_many_bytes, too_many_pixels, too_small, truncated,
    corrupt.
    """
    content, name = (source, "the picture") if isinstance(source, bytes) else _read(Path(source))
    if len(content) > MAX_BYTES:
        raise _too_many_bytes(name, len(content))
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on metadata and size; we judge both ourselves
        image = _open(content, name)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise _too_many_pixels(name, f"{width} x {height} px")
        if min(width, height) < MIN_SIDE:
            raise PortraitError(
                "too_small",
                f"{name} is only {width} x {height} px.",
                f"Use a picture of at least {MIN_SIDE} px on its shorter side; 600 px or more looks good.",
            )
        try:
            if image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1:
                notes.append("The picture is animated: its first frame is used.")
            with _libtiff_quiet(image.format == "TIFF"):
                rgb_HW3, alpha_HW = _pixels(image)
        except MemoryError as error:
            raise _too_many_pixels(name, f"{width} x {height} px") from error
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise _damaged(name, error) from error
    return PortraitImage(rgb_HW3, alpha_HW, name, notes)


def _read(path: Path) -> tuple[bytes, str]:
    name = path.name or str(path)
    try:
        if path.is_dir():
            raise PortraitError("not_an_image", f"{path} is a folder.", _USE)
        if path.exists() and not path.is_file():
            raise PortraitError("not_an_image", f"{path} is not an ordinary file.", _USE)
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _too_many_bytes(name, size)
        return path.read_bytes(), name
    except FileNotFoundError as error:
        raise PortraitError("not_found", f"There is no file {path}.", "Check the path.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise PortraitError("not_readable", f"{path} cannot be read: {reason}.", "Check its permissions.") from error
    except ValueError as error:
        if isinstance(error, PortraitError):
            raise
        raise PortraitError("not_found", "The path of the portrait holds a null byte.", "Check the path.") from error


def _open(content: bytes, name: str) -> Image.Image:
    if not content:
        raise PortraitError("not_an_image", f"{name} is empty.", _USE)
    try:
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, "more than 170 megapixels") from error
    except UnidentifiedImageError as error:
        if content[4:8] == b"ftyp" and content[8:12] in {b"heic", b"heix", b"hevc", b"mif1", b"msf1"}:
            raise PortraitError("not_an_image", f"{name} is a HEIC picture.", "Export it as JPEG or PNG.") from error
        known = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"II*\x00", b"MM\x00*")
        if content.startswith(known):
            raise PortraitError("corrupt", f"{name} is damaged: its header cannot be read.", _USE) from error
        raise PortraitError("not_an_image", f"{name} is not a picture that visavis can read.", _USE) from error
    except Exception as error:  # a damaged header: struct.error, SyntaxError, OverflowError, ...
        raise _damaged(name, error) from error


@contextmanager
def _libtiff_quiet(wanted: bool) -> Iterator[None]:
    """libtiff writes its remarks on damaged pixels straight to the process' stderr, where they look like a crash; we
    say what is wrong ourselves. For the milliseconds that a TIFF takes, the descriptor points nowhere."""
    with _QUIET:
        try:
            saved = os.dup(_STDERR) if wanted else -1
        except OSError:  # a process without stderr
            saved = -1
        if saved < 0:
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            os.close(nowhere)


def _pixels(image: Image.Image) -> tuple[U8, U8 | None]:
    """Decode, turn upright, convert to sRGB; alpha only when some pixel is really transparent."""
    image.load()
    profile = image.info.get("icc_profile")
    image = _eight_bit(ImageOps.exif_transpose(image))
    alpha_HW: U8 | None = None
    if "transparency" in image.info or image.mode in {"LA", "PA", "La", "RGBA", "RGBa"}:
        image = image.convert("RGBA")
        alpha_HW = np.asarray(image.getchannel("A"))
        if int(alpha_HW.min()) > 250:
            alpha_HW = None
            image = image.convert("RGB")
    rgb = _to_srgb(image, profile)
    if alpha_HW is not None:
        backdrop = Image.new("RGB", rgb.size, BACKDROP)
        backdrop.paste(rgb, mask=Image.fromarray(alpha_HW))
        rgb = backdrop
    return np.ascontiguousarray(np.asarray(rgb)), alpha_HW


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float greys scaled to 0..255; everything else untouched."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, np.float64))
    if image.mode.startswith("I;16") or (image.mode == "I" and 255 < values.max() <= 65535 and values.min() >= 0):
        values = values / 257.0
    elif values.max() > 255 or values.min() < 0 or values.max() <= 1.0:
        low, high = float(values.min()), float(values.max())
        values = (values - low) * (255.0 / max(high - low, 1e-9))
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Into sRGB by the embedded profile (phones write Display P3, scanners CMYK); without one, Pillow's own way."""
    target = image.convert("RGB") if image.mode not in {"RGB", "CMYK"} else image
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(target, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken or mismatched profile is no reason to refuse the picture
    return target.convert("RGB")


def _damaged(name: str, error: Exception) -> PortraitError:
    said = str(error).lower()
    if isinstance(error, EOFError) or any(word in said for word in ("truncated", "unexpected end", "premature", "eof")):
        return PortraitError("truncated", f"{name} is cut short: part of the picture is missing.", "Copy it again.")
    return PortraitError("corrupt", f"{name} is damaged and cannot be decoded.", "Copy or export it again.")


def _too_many_pixels(name: str, size: str) -> PortraitError:
    limit = MAX_PIXELS // 1_000_000
    return PortraitError(
        "too_many_pixels", f"{name} is too large: {size} (limit {limit} megapixels).", "Scale it down."
    )


def _too_many_bytes(name: str, size: int) -> PortraitError:
    limit = MAX_BYTES // 2**20
    return PortraitError("too_many_bytes", f"{name} has {size / 2**20:.0f} MiB (limit {limit}).", "Scale it down.")
