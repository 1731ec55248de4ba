"""What a frame costs a GPU, counted without one: kernels launched and bytes moved, stage by stage.

Every operator of a frame is watched as it runs (on any device). An operator that is no mere view counts as one kernel,
or as many as `_KERNELS` says, and moves its inputs and outputs once; one that looks values up moves what it looks up,
not all it could have. Caches make the truth smaller, temporary buffers inside libraries make it larger: use it for
budgets and for "achieved bandwidth", not to the last percent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from avatar.render.batch.decoder import BatchDecoder

_KERNELS: Final = {"constant_pad_nd": 2, "cumsum": 2, "linalg_cross": 1, "max_pool2d_with_indices": 1}
_LOOK_UPS: Final = {"index_select", "gather", "grid_sampler_2d", "searchsorted"}
"""These read as much of their first input as they give out."""
_WRITERS: Final = {"scatter_", "scatter_add_", "scatter_reduce_", "index_copy", "index_add"}
"""These touch as much of their first input as they write, which is their last tensor's size."""
HOST_READS: Final = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "item",
    "lift_fresh",
    "scalar_tensor",
    "is_nonzero",
}
"""Operators that read the device from the host or the host from the device: none may be in a captured frame."""


@dataclass
class Cost:
    """Of one stage."""

    kernels: int = 0
    bytes: int = 0


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches operators; `end(stage)` closes a stage."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stages: dict[str, Cost] = {}
        self.operators: set[str] = set()
        self._now = Cost()

    def end(self, stage: str) -> None:
        """What ran since the last end belongs to `stage`."""
        self.stages[stage] = self._now
        self._now = Cost()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        self.operators.add(name)
        returns = func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not view and name not in ("detach", "empty", "empty_like"):
            inputs = [
                a for arg in args for a in (arg if isinstance(arg, list | tuple) else [arg]) if isinstance(a, Tensor)
            ]
            outputs = [r for r in (result if isinstance(result, list | tuple) else [result]) if isinstance(r, Tensor)]
            self._now.kernels += _KERNELS.get(name, 1)
            self._now.bytes += _moved(name, inputs, outputs)
        return result


def count_frame(decoder: BatchDecoder) -> Counter:
    """Draw one frame step by step and count."""
    mark = decoder.painter.mark
    decoder.step()  # constants are copied to the device once
    counter = Counter()
    decoder.painter.mark = counter.end
    try:
        with torch.no_grad(), counter:
            decoder.step()
    finally:
        decoder.painter.mark = mark
    return counter


def _moved(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> int:
    if name in _WRITERS:
        written = _size(inputs[-1])
        return sum(_size(i) for i in inputs[1:]) + written * (1 if name == "scatter_" else 2)
    out = sum(_size(o) for o in outputs)
    if name in _LOOK_UPS:
        return sum(_size(i) for i in inputs[1:]) + min(_size(inputs[0]), out) + out
    if name in ("copy_", "fill_", "zero_"):
        return out + sum(_size(i) for i in inputs[1:])
    return out + sum(_size(i) for i in inputs)


def _size(tensor: Tensor) -> int:
    """Bytes of what is really there: expanded axes count once."""
    count = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= length if stride != 0 or length == 0 else 1
    return count * tensor.element_size()
