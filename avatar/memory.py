"""What a prepared identity and a session cost in memory: counted, not estimated.

identity = load_identity("portrait.jpg")
decoder = Decoder(identity)
identity_memory(identity)             # {"drawing": ..., "analysis": ...} bytes
held_bytes(decoder, without=identity) # what one more session of this portrait costs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from avatar.portrait.store import SHAPES

if TYPE_CHECKING:
    from avatar.portrait.store import Identity
    from avatar.render.decoder import Decoder

_LEAVES: Final = (
    str, bytes, int, float, complex, bool, type(None), type, Path, Enum, np.generic, np.dtype, torch.dtype,
    torch.device, ModuleType, FunctionType, BuiltinFunctionType, MethodType,
)  # fmt: skip


def held_bytes(thing: object, *, without: object = None) -> int:
    """Bytes of all array and tensor memory that `thing` reaches, each buffer counted once and whole.

    without: memory that this reaches too is left out (what is shared with it costs nothing more).
    """
    shared = dict(_buffers(without))
    return sum(size for where, size in dict(_buffers(thing)).items() if where not in shared)


def identity_memory(identity: Identity, file: Path | None = None) -> dict[str, int]:
    """Bytes of a prepared identity: `drawing` (what a decoder reads), `analysis` (only needed to prepare it again),
    and `file`, its size on disk, when one is given."""
    analysis = {name: array for name, array in identity.arrays.items() if name in SHAPES}
    drawing = {name: array for name, array in identity.arrays.items() if name not in SHAPES}
    figures = {"drawing": held_bytes(drawing), "analysis": held_bytes(analysis, without=drawing)}
    return figures if file is None else {**figures, "file": file.stat().st_size}


def gpu_slot_bytes(decoder: Decoder) -> int:
    """Device memory of this decoder's identity in one slot of `BatchDecoder`: rig and pictures."""
    from avatar.render.batch.tables import identity_arrays
    from avatar.rig.batch_slots import slot_row

    return slot_row(decoder.rig).row_F.nbytes + sum(array.nbytes for array in identity_arrays(decoder).values())


def memory_figures(identity: Identity, decoder: Decoder) -> dict[str, float]:
    """Megabytes (10^6 bytes) for `visavis bench decoder`; `decoder` has drawn `identity` before."""
    sizes = identity_memory(identity)
    return {
        "memory_identity_drawing_mb": sizes["drawing"] / 1e6,
        "memory_identity_file_mb": (sizes["drawing"] + sizes["analysis"]) / 1e6,
        "memory_session_mb": held_bytes(decoder, without=identity) / 1e6,
        "memory_gpu_slot_mb": gpu_slot_bytes(decoder) / 1e6,
    }


def _buffers(thing: object) -> Iterator[tuple[tuple[str, int], int]]:
    """(device, address) and bytes of every buffer that can be reached; some more than once."""
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _LEAVES) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            while isinstance(item.base, np.ndarray):  # a view keeps all of what it looks at
                item = item.base
            yield ("cpu", item.__array_interface__["data"][0]), item.nbytes
        elif isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            yield (str(item.device), storage.data_ptr()), storage.nbytes()
        elif isinstance(item, Mapping):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            waiting += item
        else:
            waiting += _fields(item)


def _fields(item: object) -> list[Any]:
    slots = [name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ())]
    values = [getattr(item, name) for name in slots if hasattr(item, name)]
    return values + list(getattr(item, "__dict__", {}).values())
