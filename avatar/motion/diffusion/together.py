"""Work of many sessions gathered into one call: ask -> one forward for all who asked -> answers.

together = Together(8, forward)          # forward({slot: request}) -> {slot: answer}
seat = together.join()                   # Full when no slot is free
answer = seat.ask(request)               # from any thread; waits for company, see below
seat.leave()

Two ways of using it:
- *Threads*: every session asks from its own thread. The first who asks waits up to `gather_s` for the others, or until
  every seat has asked, and then runs the call for all; whoever asks while a call runs is in the next one. No thread of
  its own, nothing to close.
- *One thread*: `futures = [seat.submit(request) ...]`, then `together.run()`, then the futures' results.

Bounded: a seat has at most one request under way. No request is lost: each ends with its answer, with the exception
that the call raised, or, when its seat leaves first, with CancelledError.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")

GATHER_S: Final = 0.004
"""Default of how long a request waits for company: a tenth of a frame."""


class Full(RuntimeError):
    """All slots are taken."""


class Together(Generic[Request, Answer]):
    """Gathers requests of up to `slots` seats; safe to be used by several threads."""

    def __init__(
        self,
        slots: int,
        forward: Callable[[Mapping[int, Request]], Mapping[int, Answer]],
        *,
        gather_s: float = GATHER_S,
        joined: Callable[[int], None] | None = None,
    ) -> None:
        """forward: answers the requests of some slots; never called by two threads at once.
        joined: called before a slot is given to a newcomer, not during a forward: to forget who sat there before.
        """
        self.slots: Final = slots
        self._forward = forward
        self._gather_s = gather_s
        self._joined = joined
        self._state = threading.Lock()
        self._all_asked = threading.Condition(self._state)  # who leads a call waits here
        self._answers = threading.Condition(self._state)  # all others, here: one wake-up each per call
        self._running = threading.Lock()
        self._seats: dict[int, Seat[Request, Answer]] = {}
        self._waiting: dict[int, tuple[Request, Future[Answer]]] = {}
        self._led = False
        self.calls = 0
        self.answered = 0
        """Calls of `forward` and requests answered so far: their ratio is the mean company."""

    def join(self) -> Seat[Request, Answer]:
        """A seat for a session. Raises Full when none is free."""
        with self._running, self._state:
            free = next((slot for slot in range(self.slots) if slot not in self._seats), None)
            if free is None:
                raise Full(f"All {self.slots} slots are taken; make the batch larger or end a session.")
            if self._joined is not None:
                self._joined(free)
            self._seats[free] = Seat(self, free)
            return self._seats[free]

    @property
    def seated(self) -> int:
        """Seats taken."""
        return len(self._seats)

    def run(self) -> int:
        """Answer all requests that wait now, in one call; returns how many there were.

        What `forward` raises goes to those who asked, not to the caller.
        """
        with self._running:
            with self._state:
                waiting, self._waiting = self._waiting, {}
            asked = {slot: item for slot, item in waiting.items() if item[1].set_running_or_notify_cancel()}
            if not asked:
                return 0
            self.calls += 1
            try:
                answers = self._forward({slot: request for slot, (request, _) in asked.items()})
                for slot, (_, future) in asked.items():
                    future.set_result(answers[slot])
            except BaseException as error:
                for _, future in asked.values():
                    if not future.done():
                        future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            finally:
                self.answered += len(asked)
                with self._state:
                    self._answers.notify_all()
            return len(asked)

    def submit(self, seat: Seat[Request, Answer], request: Request) -> Future[Answer]:
        """See `Seat.submit`."""
        with self._state:
            if self._seats.get(seat.slot) is not seat:
                raise ValueError(f"The seat at slot {seat.slot} was left; join again.")
            if seat.pending is not None and not seat.pending.done():
                raise ValueError(f"Slot {seat.slot} has asked already and must take its answer first.")
            seat.pending = future = Future[Answer]()
            self._waiting[seat.slot] = (request, future)
            self._notify_leader()
        return future

    def answer(self, future: Future[Answer]) -> Answer:
        """Wait for the answer; leads the call when nobody else does."""
        while not future.done():
            with self._state:
                if self._led:  # somebody gathers or runs: their call, or the next, is ours
                    self._answers.wait_for(lambda: future.done() or not self._led)
                    continue
                self._led = True
                deadline = time.monotonic() + self._gather_s
                while not future.done() and len(self._waiting) < len(self._seats):
                    if not self._all_asked.wait(deadline - time.monotonic()):
                        break
            try:
                self.run()
            finally:
                with self._state:
                    self._led = False
                    self._answers.notify_all()
        return future.result()

    def leave(self, seat: Seat[Request, Answer]) -> None:
        """See `Seat.leave`."""
        with self._state:
            if self._seats.get(seat.slot) is not seat:
                return
            del self._seats[seat.slot]
            if self._waiting.get(seat.slot, (None, None))[1] is seat.pending:
                self._waiting.pop(seat.slot, None)
            if seat.pending is not None:
                seat.pending.cancel()
            self._notify_leader()
            self._answers.notify_all()

    def _notify_leader(self) -> None:
        if len(self._waiting) >= len(self._seats):
            self._all_asked.notify()


class Seat(Generic[Request, Answer]):
    """A session's place in a `Together`."""

    def __init__(self, together: Together[Request, Answer], slot: int) -> None:
        self.together, self.slot = together, slot
        self.pending: Future[Answer] | None = None

    def ask(self, request: Request) -> Answer:
        """Answer of the call that takes this request along; raises what the call raised, CancelledError when the seat
        is left meanwhile."""
        return self.together.answer(self.submit(request))

    def submit(self, request: Request) -> Future[Answer]:
        """Queue a request for the next `Together.run`. ValueError when one is under way or the seat was left."""
        return self.together.submit(self, request)

    def leave(self) -> None:
        """Give the seat back at once; a request that waits is cancelled, one in a running call is answered to nobody
        else. Leaving twice does nothing."""
        self.together.leave(self)
