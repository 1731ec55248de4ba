"""A portrait made ready to move: analysed, fitted, and everything the decoder paints with, in one file.

Prepared identities of image files are kept in the user's cache under a key made of the picture's own bytes, what was
asked for, and the code and data that prepared it, so that a picture is prepared once and never stale.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from avatar.errors import PortraitError
from avatar.portrait.analyse import analyse
from avatar.portrait.image import load_image
from avatar.portrait.models import cache_folder
from avatar.portrait.store import Identity
from avatar.render.creases_pack import prepare_creases
from avatar.render.layers import prepare_layers
from avatar.rig.fit import fit_rig
from config.settings import AvatarSettings

DEFAULT: Final = "default"
FRAME_SIZE: Final = 512
KEPT_FILES: Final = 200
"""Prepared identities kept in the cache folder, 4.5 MB each at 512 px."""
_CODE: Final = ("identity.py", "portrait", "rig", "render")
"""What a prepared identity depends on, inside the package."""


def prepare_identity(
    source: str | Path | bytes,
    *,
    face_index: int | None = None,
    size: int = FRAME_SIZE,
    settings: AvatarSettings | None = None,
) -> Identity:
    """Analyse a picture, fit the rig, take the layers apart; about two seconds. Nothing is cached.

    source: a file, or the bytes of one. face_index: which face, 0 = the largest. size: side of the frame, px.
    PortraitError says what is wrong with the picture and what to do about it (codes: portrait/image.py, analyse.py).
    """
    image = load_image(source)
    analysis = analyse(image, face_index=face_index, size=size, settings=settings)
    rig = fit_rig(analysis)
    layers = prepare_layers(analysis.rgb_HW3, analysis.matte_HW, rig)
    report = rig.fit_report.tolist()
    meta: dict[str, Any] = {
        "source": image.source,
        "size": size,
        "face_index": analysis.face_index,
        "face_count": analysis.face_count,
        "score": round(float(analysis.score), 4),
        "warnings": list(analysis.warnings),
        "glasses": len(analysis.glasses_S22) > 0,
        "long_hair": analysis.long_hair,
        "fit_px": {"model_median": round(report[0], 3), "snapped_median": round(report[3], 3)},
        "prepared_by": code_version(),
    }
    arrays = {**analysis.pack(), **rig.pack(), **layers.pack(), **prepare_creases(layers, rig).pack()}
    return Identity({name: np.ascontiguousarray(array) for name, array in arrays.items()}, meta)


def load_identity(
    name_or_path: str | Path = DEFAULT,
    settings: AvatarSettings | None = None,
    *,
    face_index: int | None = None,
    size: int = FRAME_SIZE,
) -> Identity:
    """'default', a saved identity (.safetensors), or an image file, prepared once and then read from the cache.

    PortraitError for a missing file, a damaged identity file, or a picture that cannot be used.
    """
    if str(name_or_path) == DEFAULT:
        content, name = default_portrait(), DEFAULT
    else:
        path = Path(name_or_path).expanduser()
        if path.suffix == ".safetensors":
            return Identity.load(path)
        if not path.is_file():
            raise PortraitError(
                "not_found",
                f"There is no portrait at {path}.",
                "Give 'default', an image file, or an identity saved as .safetensors.",
            )
        content, name = path.read_bytes(), path.name
        if face_index is None and settings is not None:
            face_index = settings.face_index
    cached = cache_folder(settings) / "identities" / f"{_key(content, face_index, size, settings)}.safetensors"
    if cached.is_file():
        try:
            found = Identity.load(cached)
            with suppress(OSError):
                cached.touch()  # used just now: see `prune`
            return found
        except PortraitError:
            cached.unlink(missing_ok=True)  # damaged or from an interrupted disk: prepare it again
    identity = prepare_identity(content, face_index=face_index, size=size, settings=settings)
    identity.meta["source"] = name
    with suppress(PortraitError):  # a cache that cannot be written is no reason to fail
        identity.save(cached)
        prune(cached.parent)
    return identity


def prune(folder: Path, keep: int = KEPT_FILES) -> None:
    """Delete all cached identities but the `keep` used last; every version of the code makes its own."""
    used: list[tuple[float, Path]] = []
    for file in folder.glob("*.safetensors"):
        with suppress(OSError):  # another process may be doing the same
            used.append((file.stat().st_mtime, file))
    for _, file in sorted(used, reverse=True)[keep:]:
        with suppress(OSError):
            file.unlink()


def default_portrait() -> bytes:
    """The default presenter's picture: a face that is nobody's."""
    return resources.files("avatar").joinpath("presenter", "default.png").read_bytes()


@cache
def code_version() -> str:
    """Short digest of the code and data that an identity is made by."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for name in _CODE:
        place = root / name
        files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix in _SOURCES)
        for file in files:
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


_SOURCES: Final = {".py", ".safetensors"}


def _key(content: bytes, face_index: int | None, size: int, settings: AvatarSettings | None) -> str:
    digest = hashlib.sha256(content)
    glasses = "auto" if settings is None else settings.glasses
    digest.update(f"|{face_index}|{size}|{glasses}|{code_version()}".encode())
    return digest.hexdigest()[:32]
