"""Requests of many sessions share calls: none is lost, none is answered twice or to somebody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.motion.diffusion.together import Full, Together


class Doubler:
    """Answers twice the number; remembers who came together, and that calls never overlap."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls: list[dict[int, int]] = []
        self._inside = threading.Lock()

    def __call__(self, requests: Mapping[int, int]) -> Mapping[int, int]:
        assert self._inside.acquire(blocking=False), "two calls at once"
        try:
            time.sleep(self.seconds)
            self.calls.append(dict(requests))
            return {slot: 2 * number for slot, number in requests.items()}
        finally:
            self._inside.release()


def test_who_asks_at_the_same_time_shares_a_call() -> None:
    double = Doubler()
    together = Together(8, double, gather_s=5.0)
    seats = [together.join() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        started = time.monotonic()
        assert list(pool.map(lambda seat: seat.ask(seat.slot + 10), seats)) == [20 + 2 * slot for slot in range(8)]
    assert len(double.calls) == 1
    assert time.monotonic() - started < 2.0, "all had asked: nobody waits on"


def test_one_thread_submits_and_runs() -> None:
    double = Doubler()
    together = Together(4, double)
    seats = [together.join() for _ in range(4)]
    futures = [seat.submit(seat.slot) for seat in seats[:3]]
    assert together.run() == 3 and together.run() == 0
    assert [future.result(timeout=0) for future in futures] == [0, 2, 4]
    assert double.calls == [{0: 0, 1: 1, 2: 2}]


def test_a_silent_neighbour_delays_only_a_little() -> None:
    together = Together(2, Doubler(), gather_s=0.02)
    seat, _ = together.join(), together.join()
    started = time.monotonic()
    assert seat.ask(4) == 8
    assert time.monotonic() - started < 0.5


def test_many_threads_lose_nothing() -> None:
    """Sessions that come, ask at odd times and go: each gets exactly its own answers, in order."""
    double = Doubler(0.0005)
    together = Together(6, double, gather_s=0.002)

    def session(number: int) -> list[int]:
        while True:
            try:
                seat = together.join()
                break
            except Full:
                time.sleep(0.001)
        answers = []
        for turn in range(20):
            answers.append(seat.ask(1000 * number + turn))
            time.sleep(0.0003 * ((number + turn) % 4))
        seat.leave()
        return answers

    with ThreadPoolExecutor(12) as pool:
        for number, answers in enumerate(pool.map(session, range(12))):
            assert answers == [2 * (1000 * number + turn) for turn in range(20)]
    asked = [request for call in double.calls for request in call.values()]
    assert sorted(asked) == sorted(1000 * number + turn for number in range(12) for turn in range(20))
    assert together.answered == 240 and together.calls == len(double.calls) < 240
    assert together.seated == 0


@settings(max_examples=30, deadline=None)
@given(moves=st.lists(st.tuples(st.sampled_from(["join", "ask", "leave", "run"]), st.integers(0, 3)), max_size=40))
def test_every_request_ends_with_its_answer_or_cancelled(moves: list[tuple[str, int]]) -> None:
    """Any order of joining, asking, leaving and running: after a last run nothing is open, nothing is mixed up."""
    together = Together(3, Doubler())
    seats, futures, number = [], [], 0
    for move, which in moves:
        if move == "join":
            if together.seated < 3:
                seats.append(together.join())
            else:
                with pytest.raises(Full):
                    together.join()
        elif move == "run":
            together.run()
        elif which < len(seats):
            seat = seats[which]
            if move == "leave":
                seats.pop(which).leave()
            elif seat.pending is None or seat.pending.done():
                number += 1
                futures.append((number, seat.submit(number)))
            else:
                with pytest.raises(ValueError, match="asked already"):
                    seat.submit(0)
    together.run()
    assert len({seat.slot for seat in seats}) == len(seats) == together.seated
    for asked, future in futures:
        assert future.done()
        assert future.cancelled() or future.result() == 2 * asked


def test_leaving_cancels_and_frees() -> None:
    together = Together(1, Doubler())
    seat = together.join()
    future = seat.submit(1)
    seat.leave()
    seat.leave()
    with pytest.raises(CancelledError):
        future.result(timeout=0)
    with pytest.raises(ValueError, match="was left"):
        seat.submit(2)
    newcomer = together.join()
    assert newcomer.slot == seat.slot and newcomer.ask(3) == 6


def test_leaving_while_others_wait_lets_them_go_on() -> None:
    together = Together(2, Doubler(), gather_s=5.0)
    seat, other = together.join(), together.join()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(seat.ask, 5)
        time.sleep(0.02)
        started = time.monotonic()
        other.leave()
        assert answer.result(timeout=2) == 10
    assert time.monotonic() - started < 2


def test_a_newcomer_never_meets_a_running_call() -> None:
    """A slot given up during a call is handed on, and made clean, only when the call is over."""
    order: list[str] = []
    entered = threading.Event()

    def slow(requests: Mapping[int, int]) -> Mapping[int, int]:
        entered.set()
        time.sleep(0.05)
        order.append("answered")
        return requests

    together = Together(1, slow, joined=lambda slot: order.append(f"clean {slot}"))
    seat = together.join()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(seat.ask, 7)
        assert entered.wait(2)
        seat.leave()
        together.join()
        assert answer.result(timeout=2) == 7
    assert order == ["clean 0", "answered", "clean 0"]


def test_a_failure_reaches_everybody_who_asked_and_nobody_else() -> None:
    fail = [True]

    def forward(requests: Mapping[int, int]) -> Mapping[int, int]:
        if fail[0]:
            raise RuntimeError("out of memory")
        return requests

    together = Together(2, forward)
    seats = [together.join(), together.join()]
    futures = [seat.submit(1) for seat in seats]
    together.run()
    for future in futures:
        with pytest.raises(RuntimeError, match="out of memory"):
            future.result(timeout=0)
    fail[0] = False
    assert seats[0].ask(9) == 9
