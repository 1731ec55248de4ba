"""Windows of many sessions in one forward of the motion network, in torch: what `NumpyNet` gives, slot by slot.

Every shape is fixed: `past` + `new` + LOOK tokens per slot. A window with fewer past or new frames leaves tokens out by
a mask, a slot without a window computes on what it held last, and no slot reads another's numbers. So a forward has
the same kernels whatever is asked, and on CUDA it is captured in a graph with all its flow steps.

Shape suffixes: B slots, T tokens, P past frames, N frames to predict (new, then look-ahead), D = 52, A audio,
C controls, U ear features, I token inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.motion.controls import CONTROLS
from avatar.motion.diffusion.graph import Replayed, find_device
from avatar.motion.diffusion.layout import (
    AUDIO,
    BLOCK,
    CONTROL_GAIN,
    EAR,
    LOOK,
    MAX_NEW,
    MAX_PAST,
    PAST,
    ROLES,
    TOKEN_INPUTS,
)
from avatar.motion.diffusion.net import MotionConfig, MotionNet
from avatar.motion.diffusion.numpy_net import flow_times
from avatar.motion.diffusion.weights import MotionWeights
from avatar.motion.space import DIM

Floats = NDArray[np.float32]

_AUDIO_AT: Final = slice(DIM, DIM + AUDIO)
_CONTROL_AT: Final = slice(_AUDIO_AT.stop, _AUDIO_AT.stop + CONTROLS)
_EAR_AT: Final = slice(_CONTROL_AT.stop, _CONTROL_AT.stop + EAR)
_ROLE_AT: Final = slice(_EAR_AT.stop, _EAR_AT.stop + ROLES)


class Window(NamedTuple):
    """What a session asks for; arrays as for `NumpyNet.sample`."""

    past_PD: Floats
    audio_TA: Floats
    control_TC: Floats
    ear_TU: Floats
    noise_ND: Floats


class MotionBatch:
    """Samples windows of `slots` sessions at once. Not for use by two threads at once: see `shared.py`."""

    def __init__(
        self,
        weights: MotionWeights,
        slots: int,
        *,
        device: str | torch.device = "cuda",
        steps: int | None = None,
        past: int = PAST,
        new: int = BLOCK,
        tf32: bool = False,
    ) -> None:
        """steps: flow steps per window; None takes what the weights are meant for. past, new: most past and new frames
        of a window. tf32: on CUDA, matrix products with 10 bits of mantissa, several times faster.

        ValueError for steps, past or new out of range, and for a device that is not there.
        """
        self.steps: Final = steps if steps is not None else weights.steps
        if not 1 <= self.steps <= 100:
            raise ValueError(f"{self.steps} flow steps: use 1 to 100.")
        if not (0 <= past <= MAX_PAST and 1 <= new <= MAX_NEW):
            raise ValueError(f"{past} past and {new} new frames: the network knows 0-{MAX_PAST} and 1-{MAX_NEW}.")
        self.device: Final = find_device(device)
        self.slots: Final = slots
        self.past: Final = past
        self.predicted: Final = new + LOOK
        """Most frames a window predicts, look-ahead included."""
        with self.device:
            config = MotionConfig(weights.width, weights.layers, weights.heads)
            net = MotionNet(config, self._constant(weights.tensors["norm.reach"]))
        state = {name: torch.from_numpy(np.array(w)) for name, w in weights.tensors.items() if name[:5] != "norm."}
        net.load_state_dict(state)
        self.net: Final = net.eval().requires_grad_(False)
        self._mean_D, self._scale_D = self._constant(weights.mean_D), self._constant(weights.scale_D)
        self._audio_mean_A = self._constant(weights.tensors["norm.audio_mean"])
        self._audio_scale_A = self._constant(weights.tensors["norm.audio_scale"])
        self._times_S1 = self._constant(np.array(flow_times(self.steps), np.float32)[:, None])

        tokens, pinned = past + self.predicted, self.device.type == "cuda"
        self._host_BTI = torch.zeros(slots, tokens, TOKEN_INPUTS, pin_memory=pinned)
        self._host_BT = torch.ones(slots, tokens, dtype=torch.bool, pin_memory=pinned)
        self.window_BTI = torch.zeros(slots, tokens, TOKEN_INPUTS, device=self.device)
        """In: tokens as a `Window` has them, not normalised; noise in the place of what is to be predicted."""
        self.exists_BT = torch.ones(slots, tokens, dtype=torch.bool, device=self.device)
        """In: which tokens there are."""
        self.motion_BND = torch.zeros(slots, self.predicted, DIM, device=self.device)
        """Out."""
        self._forward = Replayed(self.step, self.device, [], tf32=tf32)

    def sample(self, windows: Mapping[int, Window]) -> dict[int, Floats]:
        """Motion of each window's N frames, float32 [N, 52], not clamped, by slot: `NumpyNet.sample` for many.

        ValueError for a slot that is not there and for a window that does not fit the batch's shapes.
        """
        for slot, window in windows.items():
            if not 0 <= slot < self.slots:
                raise ValueError(f"There is no slot {slot}: this batch has {self.slots}.")
            self.check(window)
            self._put(slot, window)
        with self._forward.stream():
            self.window_BTI.copy_(self._host_BTI, non_blocking=True)
            self.exists_BT.copy_(self._host_BT, non_blocking=True)
            self._forward()
            motion_BND = self.motion_BND.cpu().numpy()  # waits for the device
        return {slot: motion_BND[slot, : len(window.noise_ND)].copy() for slot, window in windows.items()}

    def check(self, window: Window) -> None:
        """ValueError when a window does not fit the batch's shapes."""
        past, count = len(window.past_PD), len(window.noise_ND)
        shapes = [np.shape(part) for part in window]
        tokens = past + count
        if shapes != [(past, DIM), (tokens, AUDIO), (tokens, CONTROLS), (tokens, EAR), (count, DIM)]:
            raise ValueError(f"Arrays of a window do not fit each other: {shapes} for {past} past frames.")
        if not (past <= self.past and LOOK < count <= self.predicted):
            raise ValueError(
                f"A window of {past} past and {count - LOOK} new frames: this batch takes 0 to {self.past} past and "
                f"1 to {self.predicted - LOOK} new frames."
            )

    def step(self) -> None:
        """One forward with all its flow steps, operator by operator."""
        past = self.past
        clean_BPD = (self.window_BTI[:, :past, :DIM] - self._mean_D) / self._scale_D
        audio_BTA = (self.window_BTI[:, :, _AUDIO_AT] - self._audio_mean_A) / self._audio_scale_A
        fixed_BTI = torch.cat([audio_BTA, self.window_BTI[:, :, _AUDIO_AT.stop :]], 2)
        flow_BND = self.net.start(self.window_BTI[:, past:, :DIM], clean_BPD, self.exists_BT)
        for step in range(self.steps):
            input_BTI = torch.cat([torch.cat([clean_BPD, flow_BND], 1), fixed_BTI], 2)
            predicted_BND = self.net(input_BTI, self._times_S1[step], past, self.exists_BT)
            flow_BND = flow_BND + (predicted_BND - flow_BND) / (self.steps - step)  # Euler, as in numpy_net.py
        self.motion_BND.copy_(flow_BND * self._scale_D + self._mean_D)

    def _put(self, slot: int, window: Window) -> None:
        """Lay a window into the host's buffer: its first new frame always at token `past`."""
        past, count = len(window.past_PD), len(window.noise_ND)
        token_TI, exists_T = self._host_BTI[slot].numpy(), self._host_BT[slot].numpy()
        first, last = self.past - past, self.past + count
        exists_T[:] = False
        exists_T[first:last] = True
        token_TI[:first] = token_TI[last:] = 0.0
        token_TI[first : self.past, :DIM] = window.past_PD
        token_TI[self.past : last, :DIM] = window.noise_ND
        token_TI[first:last, _AUDIO_AT] = window.audio_TA
        token_TI[first:last, _CONTROL_AT] = window.control_TC * CONTROL_GAIN
        token_TI[first:last, _EAR_AT] = window.ear_TU
        token_TI[first:last, _ROLE_AT] = 0.0
        token_TI[first : self.past, _ROLE_AT.start] = 1.0
        token_TI[self.past : last - LOOK, _ROLE_AT.start + 1] = 1.0
        token_TI[last - LOOK : last, _ROLE_AT.start + 2] = 1.0

    def _constant(self, values: Floats) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(self.device)


assert _ROLE_AT.stop == TOKEN_INPUTS
