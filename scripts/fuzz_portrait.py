"""Damage picture files in every way we can think of and check that `visavis portrait check` never crashes or hangs.

    python scripts/fuzz_portrait.py [--count 500] [--seed 0] [--limit 20] [--json REPORT] [--keep FOLDER]

File number n of a seed is always the same bytes. Each file must give a report, or a PortraitError, within --limit
seconds of processor time; anything else ends with exit code 1 and the file's number. A crash or a hang of a decoder
ends this process (with a traceback of where it was): run it as a process of its own, as tests/test_portrait_fuzz.py
does.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from skimage import data

from avatar.errors import PortraitError
from avatar.portrait.check import check_portrait

Bytes = bytearray
Random = np.random.Generator
SIDE = 100
"""Most files are small and faceless, so that the decoders, not the face model, get the time."""
SUFFIXES = (".jpg", ".png", ".webp", ".gif", ".tif", ".bmp", ".jp2", ".avif", ".txt", "", ".JPG", ".safetensors")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


@cache
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def sources() -> dict[str, bytes]:
    """Sound files of every format that visavis reads, in their variants."""
    picture = Image.fromarray(data.astronaut())
    small = picture.crop((300, 350, 300 + SIDE, 350 + SIDE))
    face = picture.crop((150, 50, 310, 210))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "visavis"
    clear = small.convert("RGBA")
    clear.putalpha(small.convert("L"))
    deep = Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 257)
    found = {
        "jpeg": encoded(small, "JPEG", quality=80, exif=exif.tobytes(), icc_profile=profile()),
        "jpeg progressive": encoded(small, "JPEG", quality=60, progressive=True),
        "jpeg cmyk": encoded(small.convert("CMYK"), "JPEG"),
        "jpeg grey": encoded(small.convert("L"), "JPEG"),
        "jpeg face": encoded(face, "JPEG", quality=85, exif=exif.tobytes()),
        "png": encoded(small, "PNG", icc_profile=profile(), exif=exif.tobytes()),
        "png palette": encoded(small.quantize(32), "PNG", transparency=3),
        "png deep": encoded(deep, "PNG"),
        "png clear": encoded(clear, "PNG"),
        "png bits": encoded(small.convert("1"), "PNG"),
        "png moving": encoded(small, "PNG", save_all=True, append_images=[small.rotate(90)]),
        "webp": encoded(small, "WEBP", exif=exif.tobytes(), icc_profile=profile()),
        "webp lossless": encoded(clear, "WEBP", lossless=True),
        "webp moving": encoded(small, "WEBP", save_all=True, append_images=[small.rotate(90)]),
        "gif": encoded(small.quantize(64), "GIF"),
        "gif moving": encoded(small, "GIF", save_all=True, append_images=[small.rotate(90)] * 3),
        "tiff": encoded(small, "TIFF", icc_profile=profile()),
        "tiff lzw": encoded(small, "TIFF", compression="tiff_lzw"),
        "tiff deflate": encoded(deep, "TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": encoded(small, "TIFF", compression="jpeg"),
        "tiff fax": encoded(small.convert("1"), "TIFF", compression="group4"),
        "tiff float": encoded(Image.fromarray(np.asarray(small.convert("L"), np.float32)), "TIFF"),
        "bmp": encoded(small, "BMP"),
        "bmp palette": encoded(small.quantize(16), "BMP"),
        "jpeg 2000": encoded(small, "JPEG2000"),
        "jpeg 2000 lossy": encoded(small, "JPEG2000", quality_mode="rates", quality_layers=[20]),
    }
    if "AVIF" in Image.SAVE:
        found["avif"] = encoded(small, "AVIF", quality=60, exif=exif.tobytes())
        found["avif clear"] = encoded(clear, "AVIF", quality=60)
    return found


def bits(rng: Random, content: Bytes) -> Bytes:
    """Flip some bits anywhere."""
    for _ in range(int(2 ** rng.uniform(0, 7))):
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    return content


def header(rng: Random, content: Bytes) -> Bytes:
    """Overwrite bytes at the beginning with extreme or random ones."""
    for _ in range(int(rng.integers(1, 9))):
        content[rng.integers(min(len(content), 96))] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))
    return content


def words(rng: Random, content: Bytes) -> Bytes:
    """Put a large, negative or odd 16- or 32-bit number somewhere, in either byte order."""
    for _ in range(int(rng.integers(1, 4))):
        value = int(rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10001]))
        code = str(rng.choice([">I", "<I", ">H", "<H"]))
        raw = struct.pack(code, value & (0xFFFFFFFF if code[1] == "I" else 0xFFFF))
        place = int(rng.integers(max(1, min(len(content), int(rng.choice([64, 512, 10**6]))) - len(raw))))
        content[place : place + len(raw)] = raw
    return content


def cut(rng: Random, content: Bytes) -> Bytes:
    """End early."""
    return content[: int(rng.integers(len(content)))]


def splice(rng: Random, content: Bytes) -> Bytes:
    """A piece of another file, or of this one, somewhere in the middle."""
    names = list(sources())
    other = sources()[names[int(rng.integers(len(names)))]] if rng.random() < 0.6 else bytes(content)
    start, place = int(rng.integers(len(other))), int(rng.integers(len(content)))
    piece = other[start : start + int(rng.integers(1, 400))]
    end = place + (len(piece) if rng.random() < 0.5 else 0)
    return content[:place] + piece + content[end:]


def remove(rng: Random, content: Bytes) -> Bytes:
    """Take a piece out."""
    place = int(rng.integers(len(content)))
    return content[:place] + content[place + int(rng.integers(1, 200)) :]


def noise(rng: Random, content: Bytes) -> Bytes:
    """Keep the beginning, the rest is noise."""
    keep = int(rng.integers(4, min(len(content), 300)))
    return content[:keep] + bytearray(rng.integers(0, 256, len(content) - keep, np.uint8).tobytes())


def hostile_png(rng: Random, _: Bytes) -> Bytes:
    """A PNG that claims any size and kind, with a sound checksum, and chunks that promise or unpack too much."""
    sizes = (0, 1, 95, 100, 4000, 60_000, 2**31 - 1, 2**32 - 1)
    width, height = (int(rng.choice(sizes)) for _ in range(2))
    kind = struct.pack(">IIBBBBB", width, height, *(int(rng.choice([0, 1, 2, 3, 4, 6, 8, 16])) for _ in range(5)))
    bomb = zlib.compress(bytes(4_000_000))
    chunks = [(b"IHDR", kind)]
    bodies = {b"zTXt": b"k\0\0" + bomb, b"iCCP": b"p\0\0" + bomb}
    names = rng.permutation([b"zTXt", b"iCCP", b"eXIf", b"PLTE", b"tRNS", b"acTL", b"IDAT", b"gAMA"])[:4]
    chunks += [(bytes(name), bodies.get(bytes(name), bomb[:200])) for name in names]
    chunks += [(b"IDAT", bomb), (b"IEND", b"")]
    out = bytearray(b"\x89PNG\r\n\x1a\n")
    for name, body in chunks:
        out += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return out


def hostile_size(rng: Random, _: Bytes) -> Bytes:
    """Sound headers of the other formats with extreme sizes."""
    width, height = (int(rng.choice([0, 1, 99, 8000, 30_000, 65_535])) for _ in range(2))
    kind = int(rng.integers(4))
    if kind == 0:
        content = bytearray(sources()["jpeg grey"])
        place = content.find(b"\xff\xc0")
        content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    elif kind == 1:
        content = bytearray(sources()["gif"])
        content[6:10] = struct.pack("<HH", width, height)
    elif kind == 2:
        content = bytearray(sources()["bmp"])
        content[18:26] = struct.pack("<ii", width, int(rng.choice([height, -height, -(2**31)])))
    else:
        ifd = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, int(rng.choice([1, 5, 7, 32773]))),
               (262, 3, 1, 1), (273, 4, 1, int(rng.choice([8, 0, 2**31]))), (277, 3, 1, int(rng.choice([1, 3, 4000]))),
               (278, 4, 1, height), (279, 4, 1, int(rng.choice([100, 2**31]))),
               (34675, 7, 2**30, 8)]  # fmt: skip
        content = bytearray(b"II*\0" + struct.pack("<IH", 8, len(ifd)))
        for entry in ifd:
            content += struct.pack("<HHII", *entry)
        content += struct.pack("<I", int(rng.choice([0, 8, 2**31]))) + bytes(200)  # the next directory: none, itself
    return content


def hostile_exif(rng: Random, _: Bytes) -> Bytes:
    """EXIF with directories that point at themselves or nowhere, odd orientations and types; sound pixels."""
    image = Image.open(io.BytesIO(sources()["png"])).convert("RGB")
    entries = [
        (0x0112, int(rng.choice([2, 3, 5, 13])), int(rng.choice([1, 0, 2**31])), int(rng.choice([0, 9, 6, 255])))
    ]
    entries += [
        (tag, int(rng.choice([4, 13])), 1, int(rng.choice([8, 0, 26, 2**32 - 1])))
        for tag in (0x8769, 0x8825, 0xA005, 0x0201)
    ]
    blob = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries))
    blob += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 8)
    if rng.random() < 0.3:
        blob = b"Exif\0\0" + bytes(rng.integers(0, 256, 80, np.uint8))
    return bytearray(encoded(image, str(rng.choice(["JPEG", "WEBP", "PNG"])), exif=blob))


def hostile_profile(rng: Random, _: Bytes) -> Bytes:
    """A damaged colour profile around sound pixels."""
    icc = bytearray(profile())
    damaged = (bits, words, cut, header, noise)[int(rng.integers(5))](rng, icc)
    image = Image.open(io.BytesIO(sources()["png"])).convert(str(rng.choice(["RGB", "L", "CMYK"])))
    return bytearray(encoded(image, "JPEG", icc_profile=bytes(damaged)))


DAMAGE: tuple[Callable[[Random, Bytes], Bytes], ...] = (
    bits, bits, header, header, words, words, cut, splice, remove, noise,
    hostile_png, hostile_size, hostile_exif, hostile_profile,
)  # fmt: skip


def mutated(seed: int, number: int) -> tuple[bytes, str, str]:
    """File `number` of a seed: its bytes, the suffix it is given, what was done to what."""
    rng = np.random.default_rng([seed, number])
    names = list(sources())
    name = names[number % len(names)]
    content, done = bytearray(sources()[name]), []
    for _ in range(1 if rng.random() < 0.7 else 2):
        damage = DAMAGE[int(rng.integers(len(DAMAGE)))]
        if len(content) > 16:
            content = damage(rng, content)
        done.append(damage.__name__)
    return bytes(content), SUFFIXES[int(rng.integers(len(SUFFIXES)))], f"{name}: {', '.join(done)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds of processor time per file")
    parser.add_argument("--json", type=Path, help="write the outcome here")
    parser.add_argument("--keep", type=Path, help="keep every file in this folder")
    options = parser.parse_args()
    faulthandler.enable()
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest = (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.first, options.first + options.count):
            content, suffix, done = mutated(options.seed, number)
            path = Path(folder) / f"{number}{suffix}"
            path.write_bytes(content)
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / path.name).write_bytes(content)
            # by the clock, because a decoder that hangs returns no more; generous, because the machine may be busy
            faulthandler.dump_traceback_later(10 * options.limit, exit=True)
            start = time.process_time()
            try:
                report = check_portrait(path)
                outcomes["usable" if report.usable else report.code] += 1
                if not report.usable and not (report.message and report.hint):
                    failures.append(f"{number} ({done}): a refusal without words, {report.code}")
            except PortraitError as error:
                outcomes[error.code] += 1
            except BaseException as error:  # whatever else comes out is a failure
                failures.append(f"{number} ({done}): {type(error).__name__}: {error}")
            took = time.process_time() - start
            faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, (took, f"{number} ({done})"))
            if took > options.limit:
                failures.append(f"{number} ({done}): {took:.1f} s")
            path.unlink()
    result = {
        "outcomes": dict(outcomes),
        "failures": failures,
        "slowest_s": round(slowest[0], 2),
        "slowest": slowest[1],
    }
    print(json.dumps(result, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(result))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
