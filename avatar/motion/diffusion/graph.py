"""One step of fixed shapes, replayed as a CUDA graph on a GPU, run as it is on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch

_WARM_UPS: Final = 3
"""Runs before the capture, on another stream: libraries set themselves up, and choose their kernels."""


class Replayed:
    """Calls `step`; on CUDA its first call captures it and later ones replay it.

    step reads and writes tensors that stay at their places, keeps the host out (no `.item()`, no copy from the host's
    memory) and may be run any number of times before the capture counts: what it changes is put back.
    """

    def __init__(
        self, step: Callable[[], None], device: torch.device, keeps: list[torch.Tensor], *, tf32: bool = False
    ) -> None:
        """keeps: tensors that `step` changes from one call to the next. tf32: float32 matrix products on CUDA may use
        10 bits of mantissa."""
        self._step, self._device, self._keeps, self._tf32 = step, device, keeps, tf32
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream: torch.cuda.Stream | None = None

    def stream(self) -> AbstractContextManager[object]:
        """Where the step, and what goes in and out of it, is to run: beside what else the device does, such as drawing
        faces, so that waiting for the one is not waiting for the other."""
        if self._device.type != "cuda":
            return nullcontext()
        if self._stream is None:
            torch.cuda.synchronize(self._device)  # what was laid out on the device is there
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._stream)

    @torch.inference_mode()
    def __call__(self) -> None:
        """Run the step once, inside `stream`; on CUDA it is under way when this returns."""
        if self._device.type != "cuda":
            self._step()
            return
        if self._graph is None:
            allowed = torch.backends.cuda.matmul.allow_tf32
            torch.backends.cuda.matmul.allow_tf32 = self._tf32  # which kernels are recorded
            try:
                self._graph = self._capture()
            finally:
                torch.backends.cuda.matmul.allow_tf32 = allowed
        self._graph.replay()

    def _capture(self) -> torch.cuda.CUDAGraph:
        before = [tensor.clone() for tensor in self._keeps]
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._step()
        torch.cuda.current_stream(self._device).wait_stream(side)
        for tensor, value in zip(self._keeps, before, strict=True):
            tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        # records, does not run; other threads may go on using the device meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._step()
        return graph


def find_device(name: str | torch.device) -> torch.device:
    """The device of this name. ValueError when it is CUDA and there is none."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device here. Ask for device='cpu', or install an NVIDIA driver.")
    return device
