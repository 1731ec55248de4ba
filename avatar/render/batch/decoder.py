"""Frames of many sessions at once, in torch: `avatar.render.decoder` for a batch, made to run on a GPU.

Every slot holds an identity. On CUDA a frame of all slots is captured in a graph at its first use and replayed
afterwards. On the CPU, where it is only meant for tests, it runs step by step. docs/face/gpu.md tells why it is made
as it is, and what it costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.motion import limits, space
from avatar.render.batch.frame import Painter
from avatar.render.batch.tables import Arrays, Layout, Slots, identity_arrays
from avatar.render.decoder import Decoder
from avatar.render.output import FrameFormat
from avatar.rig.batch import RigBatch
from avatar.rig.batch_slots import SlotRow, slot_row

if TYPE_CHECKING:
    from avatar.portrait.store import Identity

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

_WARM_UPS: Final = 2
"""Frames drawn before a graph is captured, so that libraries have set themselves up."""


class Prepared:
    """An identity made ready for a slot, off the frame path (about 0.3 s)."""

    def __init__(self, identity: Identity, *, size: int = 512, format: FrameFormat | None = None) -> None:
        """size, format: as for `Decoder`. ValueError for an identity that cannot be drawn in a batch."""
        decoder = Decoder(identity, size=size, format=format)
        self.format: Final = decoder.format
        self.layout: Final = Layout.of(decoder)
        self.row: Final[SlotRow] = slot_row(decoder.rig)
        self.arrays: Final[Arrays] = identity_arrays(decoder)

    @property
    def nbytes(self) -> int:
        """Host memory of what a slot is filled with."""
        return sum(array.nbytes for array in self.arrays.values()) + self.row.row_F.nbytes


class BatchDecoder:
    """Draws a frame of every slot per call. Not for use by two threads at once."""

    def __init__(
        self,
        identities: Sequence[Identity | Prepared],
        *,
        size: int = 512,
        format: FrameFormat | None = None,
        device: str = "cuda",
        batch: int | None = None,
        compiled: bool = False,
    ) -> None:
        """One slot per identity, or `batch` slots of which those left over hold the first identity.

        compiled: torch.compile joins kernels before the graph is captured. Takes minutes at the first frame, and a
        C compiler on the machine. ValueError for no identity or more than slots, for identities of different versions
        or formats, and for a device that is not there.
        """
        self.device: Final = find_device(device)
        self.format: Final = format or FrameFormat(size)
        self.batch: Final = len(identities) if batch is None else batch
        if not 0 < len(identities) <= self.batch:
            raise ValueError(f"A batch of {self.batch} slots cannot take {len(identities)} identities.")
        ready = [self._prepared(identity) for identity in identities]
        self.rig: Final = RigBatch.build([r.row for r in ready], self.device, slots=self.batch)
        self.slots: Final = Slots.room(ready[0].arrays, self.batch, self.device)
        self.painter: Final = Painter(ready[0].layout, self.slots, self.rig)
        self._points = ready[0].layout.points
        for slot in range(self.batch):
            self._put(slot, ready[slot] if slot < len(ready) else ready[0])
        self._low_D, self._high_D = (torch.from_numpy(d).to(self.device) for d in (space.LOW_D, space.HIGH_D))
        self._motion_BD = torch.zeros(self.batch, space.DIM, device=self.device)
        self._clamped_B = torch.zeros(self.batch, dtype=torch.int64, device=self.device)
        self._frame: Callable[[], Tensor] = self.step
        if compiled:
            self._frame = torch.compile(self.step, fullgraph=True, dynamic=False)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._out = torch.empty(0, device=self.device)

    def set_slot(self, slot: int, identity: Identity | Prepared) -> None:
        """Put an identity into a slot, between two frames; give a Prepared to keep the preparation off the way.

        ValueError for one that does not fit the others: prepared by another version, or for another format.
        """
        ready = self._prepared(identity)
        self.rig.set_slot(slot, ready.row)
        self._put(slot, ready)

    @torch.inference_mode()
    def render(self, motion_BD: F32 | Tensor) -> Tensor:
        """Frames of all slots, uint8 [B, *format.shape] on the device, overwritten by the next call.

        motion_BD: float32 [B, 52]; numbers out of range are clamped and counted in `clamped`. ValueError for a wrong
        shape.
        """
        if tuple(motion_BD.shape) != (self.batch, space.DIM):
            raise ValueError(f"Motions are [{self.batch}, {space.DIM}] here; these have shape {list(motion_BD.shape)}.")
        self._motion_BD.copy_(torch.as_tensor(motion_BD))
        if self.device.type != "cuda":
            return self._frame()
        if self._graph is None:
            self._capture()
        assert self._graph is not None
        self._graph.replay()
        return self._out

    def step(self) -> Tensor:
        """The frame of the last motions once more, step by step, without a graph: for whoever measures stages."""
        motion, changed_B = limit_head(self.slots, self._motion_BD, self._low_D, self._high_D)
        self._clamped_B += changed_B
        face = self.rig.deform(motion)
        self.painter.mark("deform")
        return self.painter.draw(face)

    @property
    def clamped(self) -> list[int]:
        """Motion numbers out of range so far, per slot, over all frames (waits for the device)."""
        return [int(count) for count in self._clamped_B.tolist()]

    def _capture(self) -> None:
        """Record a frame. The graph has a memory pool of its own; its reads and writes stay at the same places."""
        side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._frame()
        torch.cuda.current_stream(self.device).wait_stream(side)
        self._clamped_B.zero_()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._out = self._frame()
        self._graph = graph

    def _prepared(self, identity: Identity | Prepared) -> Prepared:
        ready = identity if isinstance(identity, Prepared) else Prepared(identity, format=self.format)
        if ready.format != self.format:
            raise ValueError(f"This identity was prepared for frames {ready.format.shape}, not {self.format.shape}.")
        return ready

    def _put(self, slot: int, ready: Prepared) -> None:
        corners = ready.arrays["corners_3T"] + np.int32(slot * self._points)
        self.slots.put(slot, {**ready.arrays, "corners_3T": corners})
        self.painter.shading.put(slot, self.slots)


class TorchDecoder:
    """`Decoder`'s interface over a batch of one, for a session that has a GPU to itself."""

    def __init__(
        self, identity: Identity | Prepared, *, size: int = 512, format: FrameFormat | None = None, device: str = "cuda"
    ) -> None:
        """ValueError as for `BatchDecoder`."""
        self._batch = BatchDecoder([identity], size=size, format=format, device=device)
        self.format: Final = self._batch.format
        self.size: Final = self.format.size
        pinned = self._batch.device.type == "cuda"
        self._host = torch.empty(1, *self.format.shape, dtype=torch.uint8, pin_memory=pinned)
        self.timings: dict[str, float] = {}
        """ms of the last frame, the way to the host included; a captured graph has no stages."""

    @property
    def clamped(self) -> int:
        """Motion numbers out of range so far, over all frames."""
        return self._batch.clamped[0]

    def warm_up(self) -> None:
        """Capture the graph."""
        self.render(space.neutral())

    def render(self, motion_D: F32, out: U8 | None = None) -> U8:
        """Draw one frame, uint8 `format.shape`, into `out` when given. ValueError for wrong shapes."""
        if np.shape(motion_D) != (space.DIM,):
            raise ValueError(f"A motion vector has {space.DIM} numbers; this one has shape {np.shape(motion_D)}.")
        out = self.format.buffer(out)
        started = time.perf_counter()
        self._host.copy_(self._batch.render(np.asarray(motion_D, np.float32)[None]))
        np.copyto(out, self._host[0].numpy())
        self.timings = {"total": (time.perf_counter() - started) * 1e3}
        return out


def limit_head(slots: Slots, motion_BD: Tensor, low_D: Tensor, high_D: Tensor) -> tuple[Tensor, Tensor]:
    """space.clamp and motion.limits.limit_head: the motion, and how many numbers of each were out of range [B]."""
    motion = torch.nan_to_num(motion_BD, nan=0.0, posinf=1e9, neginf=-1e9)
    motion = torch.minimum(torch.maximum(motion, low_D), high_D)
    changed_B = (motion != motion_BD).sum(1)
    turns = motion[:, limits.TURNS]
    limit = torch.where(turns < 0, slots.limit_23[:, 0], slots.limit_23[:, 1])
    knee = limits.KNEE * limit
    room = (limit - knee).clamp(min=1e-6)
    beyond = (turns.abs() - knee).clamp(min=0.0)
    pressed = turns.sign() * (knee + room * torch.tanh(beyond / room))
    pressed = torch.where(beyond > 0.0, pressed, turns)
    motion = torch.cat([motion[:, : limits.TURNS.start], pressed, motion[:, limits.TURNS.stop :]], 1)
    return motion, changed_B


def find_device(name: str) -> torch.device:
    """The device of this name. ValueError when it is CUDA and there is none."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "There is no CUDA device here. Set the decoder's device to 'cpu', or install an NVIDIA driver."
        )
    return device
