"""The networks of many sessions on one device, for a server: each session has a seat and notices nothing.

shared = SharedMotion(shipped_weights("small"), 64, device="cuda")
place = shared.join()                    # Full when all are taken
place.net                                # NumpyNet's interface
place.visemes                            # VisemeNet's interface
place.leave()

Sessions on threads of their own need nothing else (`together.py` says how they find each other). A server that drives
all sessions from one thread hands in the chunks first, `shared.visemes.prefetch({place.slot: pcm_S, ...})`, and
submits windows itself (`place.net.submit`, `shared.windows.run()`).
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from avatar.motion.diffusion.batch import MotionBatch, Window
from avatar.motion.diffusion.batch_features import SlotVisemes, VisemeBatch
from avatar.motion.diffusion.layout import PAST
from avatar.motion.diffusion.together import GATHER_S, Seat, Together
from avatar.motion.diffusion.weights import MotionWeights
from avatar.motion.viseme_net import Weights

Floats = NDArray[np.float32]


class SharedMotion:
    """The motion network and the viseme network for up to `slots` sessions; safe to be used by several threads."""

    def __init__(
        self,
        weights: MotionWeights,
        slots: int,
        *,
        device: str | torch.device = "cuda",
        steps: int | None = None,
        past: int = PAST,
        viseme_weights: Weights | None = None,
        gather_s: float = GATHER_S,
        tf32: bool = False,
    ) -> None:
        """Arguments as for `MotionBatch`, `VisemeBatch` and `Together`; ValueError as there."""
        self.motion: Final = MotionBatch(weights, slots, device=device, steps=steps, past=past, tf32=tf32)
        self.visemes: Final = VisemeBatch(slots, viseme_weights, device=device)
        self.windows: Final = Together[Window, Floats](
            slots, self.motion.sample, gather_s=gather_s, joined=lambda slot: self.visemes.net(slot).reset()
        )
        self.abandoned: Final[deque[Seat[Window, Floats]]] = deque()
        """Seats of forgotten sessions; the next `join` makes them free."""

    def join(self) -> Place:
        """A seat for a session, nothing left in it of who sat there before. Raises Full when none is free."""
        while self.abandoned:
            try:
                seat = self.abandoned.popleft()
            except IndexError:  # another thread was faster
                break
            seat.leave()
        return Place(self, self.windows.join())

    def warm_up(self) -> None:
        """Capture the graphs, so that the first session does not wait for it."""
        self.motion.sample({})
        self.visemes.warm_up()


class SeatNet:
    """`NumpyNet`'s interface at a seat of a batch."""

    def __init__(self, batch: MotionBatch, seat: Seat[Window, Floats]) -> None:
        self.steps: Final = batch.steps
        self.past: Final = batch.past
        self._batch, self._seat = batch, seat

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        """As `NumpyNet.sample`, in a forward shared with other sessions; waits for it. ValueError for a window that
        does not fit the batch."""
        window = Window(past_PD, audio_TA, control_TC, ear_TU, noise_ND)
        self._batch.check(window)  # here: in the forward it would fail those who share it, too
        return self._seat.ask(window)

    def submit(self, window: Window) -> Future[Floats]:
        """Queue a window for the next `SharedMotion.windows.run()`. ValueError as for `sample`."""
        self._batch.check(window)
        return self._seat.submit(window)


class Place:
    """A session's seat: its two networks."""

    def __init__(self, shared: SharedMotion, seat: Seat[Window, Floats]) -> None:
        self._seat, self._abandoned = seat, shared.abandoned
        self.slot: Final = seat.slot
        self.net: Final = SeatNet(shared.motion, seat)
        self.visemes: Final[SlotVisemes] = shared.visemes.net(seat.slot)

    def leave(self) -> None:
        """Give the seat back; the session's networks must not be used afterwards."""
        self._seat.leave()

    def abandon(self) -> None:
        """As `leave`, with the next `join`, and without waiting for anything: for a finaliser, which may run anywhere,
        even where this thread holds the lock that `leave` takes."""
        self._abandoned.append(self._seat)
