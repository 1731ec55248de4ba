"""Marks of a turn, on a virtual clock."""

from __future__ import annotations

import pytest

from agent.latency import LatencyLog


class Now:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at

    async def sleep_until(self, moment: float) -> None:
        self.at = max(self.at, moment)

    def advance(self, seconds: float) -> None:
        self.at += seconds


def test_an_end_of_speech_that_is_noticed_late_keeps_what_came_after_the_last_sound() -> None:
    clock = Now()
    log = LatencyLog(clock=clock)
    log.speech_ended(clock.now())
    log.mark("transcript")  # of the first half of the sentence
    clock.advance(0.5)
    last_sound = clock.now()
    clock.advance(0.3)
    log.mark("transcript")
    log.mark("first_text")
    clock.advance(0.1)
    log.speech_ended(last_sound)  # the detector was slow
    log.mark("turn_end")
    log.mark("first_audio")
    clock.advance(0.1)
    log.mark("first_frame")
    (turn,) = log.turns
    assert turn.marks_ms == pytest.approx(
        {"speech_end": 0.0, "transcript": 300.0, "turn_end": 400.0, "first_text": 300.0, "first_audio": 400.0,
         "first_frame": 500.0}
    )  # fmt: skip


def test_speech_that_goes_on_forgets_what_came_before_it() -> None:
    clock = Now()
    log = LatencyLog(clock=clock)
    log.speech_ended(clock.now())
    clock.advance(0.1)
    log.mark("transcript")
    log.mark("first_text")
    clock.advance(1.0)
    log.speech_ended(clock.now())
    log.mark("first_audio")
    log.mark("first_frame")
    assert set(log.turns[0].marks_ms) == {"speech_end", "first_audio", "first_frame"}
