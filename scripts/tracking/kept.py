"""Dataclasses of arrays as files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Self

import numpy as np


class Kept:
    """Save and load for a dataclass whose fields are all arrays."""

    def save(self, path: Path) -> None:
        """Write an .npz; it appears whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, **{field.name: getattr(self, field.name) for field in fields(self)})  # type: ignore[arg-type]
        temporary.rename(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Inverse of `save`."""
        with np.load(path) as data:
            return cls(**{name: data[name] for name in data.files})
