"""A prepared identity in one file: plain arrays and JSON, nothing that can run.

The file is safetensors. Its metadata holds one entry, `visavis`: JSON {"kind": "identity", "version": 1, "meta": {}}.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from avatar.errors import PortraitError

VERSION: Final = 2
SUFFIX: Final = ".safetensors"
MAX_BYTES: Final = 256 * 2**20
MAX_ARRAYS: Final = 1000
SIZES: Final = range(64, 2049)
"""Sides of a framed portrait, px."""

SHAPES: Final[Mapping[str, tuple[str, tuple[int | str, ...]]]] = {
    "rgb_HW3": ("uint8", ("size", "size", 3)),
    "matte_HW": ("float32", ("size", "size")),
    "landmarks_N3": ("float32", (468, 3)),
    "iris_2K3": ("float32", (2, 5, 3)),
    "eye_contour_2K3": ("float32", (2, 71, 3)),
    "to_source_33": ("float64", (3, 3)),
}
"""What every identity holds; `size` is the side of its picture. Anything else (`rig.*`, ...) may be there too."""
_AGAIN: Final = "Prepare the portrait again."


@dataclass(frozen=True)
class Identity:
    """A portrait, analysed and rigged. arrays: name -> array (see SHAPES); meta: what JSON can hold."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Side of the framed portrait, px."""
        return int(self.arrays["rgb_HW3"].shape[0])

    def save(self, path: str | Path) -> Path:
        """Write the file, whole or not at all; returns its path. PortraitError `bad_identity`, `not_writable`."""
        validate(self.arrays)
        header = json.dumps({"kind": "identity", "version": VERSION, "meta": self.meta}, allow_nan=False)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        content = save(arrays, metadata={"visavis": header})
        path = Path(path)
        part = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(part).chmod(0o644)
            Path(part).replace(path)
        except OSError as error:
            with suppress(OSError):
                Path(part).unlink()
            raise PortraitError(
                "not_writable", f"{path} cannot be written: {error.strerror or error}.", "Choose another place."
            ) from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> Identity:
        """Read and check a file.

        PortraitError codes: not_found, not_readable, not_an_identity, too_old, too_new, corrupt, bad_identity.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            if not path.is_file() or size > MAX_BYTES:
                raise PortraitError("not_an_identity", f"{path} is not a prepared identity.", _AGAIN)
            with safe_open(str(path), framework="numpy") as file:
                meta = _meta(path, file.metadata())
                names = list(file.keys())
                if len(names) > MAX_ARRAYS:
                    raise PortraitError("bad_identity", f"{path} holds {len(names)} arrays.", _AGAIN)
                arrays = {name: np.array(file.get_tensor(name)) for name in names}
        except FileNotFoundError as error:
            raise PortraitError("not_found", f"There is no file {path}.", "Check the path.") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise PortraitError("not_readable", f"{path} cannot be read: {reason}.", "Check the path.") from error
        except (SafetensorError, TypeError, AttributeError, KeyError) as error:  # unknown dtypes end in the last three
            raise PortraitError("corrupt", f"{path} is damaged, or is no prepared identity.", _AGAIN) from error
        validate(arrays)
        return cls(arrays, meta)


def validate(arrays: Mapping[str, NDArray[Any]]) -> None:
    """PortraitError `bad_identity` unless all arrays of SHAPES are there, of their type and shape, and all are finite
    numbers."""
    if "rgb_HW3" not in arrays or arrays["rgb_HW3"].ndim != 3 or arrays["rgb_HW3"].shape[0] not in SIZES:
        raise PortraitError("bad_identity", "The identity holds no framed picture (rgb_HW3).", _AGAIN)
    size = int(arrays["rgb_HW3"].shape[0])
    for name, (kind, dimensions) in SHAPES.items():
        if name not in arrays:
            raise PortraitError("bad_identity", f"The identity has no {name}.", _AGAIN)
        shape = tuple(size if dimension == "size" else int(dimension) for dimension in dimensions)
        array = arrays[name]
        if array.shape != shape or array.dtype != np.dtype(kind):
            found = f"{array.dtype} {list(array.shape)}"
            raise PortraitError(
                "bad_identity", f"The identity's {name} is {found} instead of {kind} {list(shape)}.", _AGAIN
            )
    for name, array in arrays.items():
        if array.dtype.kind not in "buif":
            raise PortraitError("bad_identity", f"The identity's {name} holds {array.dtype}.", _AGAIN)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise PortraitError("bad_identity", f"The identity's {name} holds numbers that are not finite.", _AGAIN)


def _meta(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """The JSON part of a file, checked for kind and version."""
    foreign = PortraitError(
        "not_an_identity", f"{path} is a safetensors file, but not an identity of visavis.", "Prepare one."
    )
    try:
        header = json.loads((metadata or {})["visavis"])
        kind, version, meta = header["kind"], header["version"], header["meta"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise foreign from error
    if kind != "identity" or not isinstance(version, int) or not isinstance(meta, dict):
        raise foreign
    if version < VERSION:
        raise PortraitError(
            "too_old",
            f"{path} was prepared by an older visavis (format {version}, this one reads {VERSION}).",
            "Prepare the portrait again: visavis portrait prepare PICTURE --out FILE.safetensors.",
        )
    if version > VERSION:
        raise PortraitError(
            "too_new",
            f"{path} was made by a newer visavis (format {version}, this one reads up to {VERSION}).",
            "Update visavis, or prepare the portrait again.",
        )
    if not _finite(meta):
        raise foreign
    return meta


def _finite(value: Any) -> bool:
    """JSON's NaN and infinities are not JSON."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(_finite(item) for item in value)
    return True
