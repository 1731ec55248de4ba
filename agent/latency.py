"""How long each turn took: end of the visitor's speech -> transcript -> first text -> first sound -> first frame.

The end of speech is counted in microphone samples (the moment at which the last voiced sample arrived), not in the
time at which somebody noticed, so a slow detector cannot flatter the figure. Nothing that was said is kept here.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from agent.clock import Clock, MonotonicClock

logger = logging.getLogger("visavis.latency")

Mark = Literal["speech_end", "transcript", "turn_end", "first_text", "first_audio", "first_frame"]
MARKS: Final[tuple[Mark, ...]] = ("speech_end", "transcript", "turn_end", "first_text", "first_audio", "first_frame")
"""In the order in which they are reported; `first_text` may precede `turn_end`, because the reply is begun early."""
KEPT_TURNS: Final = 500


@dataclass(frozen=True, slots=True)
class Turn:
    """One answered turn. marks_ms: milliseconds since the visitor's last sound; what did not happen is absent."""

    number: int
    kind: Literal["voice", "text"]
    marks_ms: Mapping[Mark, float]

    @property
    def total_ms(self) -> float:
        """End of speech to first speaking frame."""
        return self.marks_ms["first_frame"]


class LatencyLog:
    """Marks of the turn that is open, figures of those that are over.

    on_turn: told of every turn when its reply begins to sound.
    """

    def __init__(self, *, clock: Clock | None = None, on_turn: Callable[[Turn], None] = lambda turn: None) -> None:
        self._clock = clock or MonotonicClock()
        self._on_turn = on_turn
        self._marks: dict[Mark, float] = {}
        self._kind: Literal["voice", "text"] = "voice"
        self._numbered = 0
        self.turns: deque[Turn] = deque(maxlen=KEPT_TURNS)

    def speech_ended(self, moment: float) -> None:
        """The visitor's last sound came at `moment`; may come again while the turn goes on.

        It may be noticed late: what happened after that sound still counts, what happened before it does not.
        """
        self._kind = "voice"
        since: dict[Mark, float] = {mark: at for mark, at in self._marks.items() if at >= moment}
        self._marks = since | {"speech_end": moment}

    def typed(self) -> None:
        """The visitor sent text."""
        now = self._clock.now()
        self._kind = "text"
        self._marks = {"speech_end": now, "transcript": now, "turn_end": now}

    def mark(self, mark: Mark) -> None:
        """Something happened now. The first text and sound count; a newer transcript starts them afresh."""
        if "speech_end" not in self._marks:
            return
        if mark == "transcript":
            self._marks.pop("first_text", None)
            self._marks.pop("first_audio", None)
            self._marks[mark] = self._clock.now()
        else:
            self._marks.setdefault(mark, self._clock.now())
        if mark == "first_frame":
            self._close()

    def forget(self) -> None:
        """The open turn is not answered."""
        self._marks = {}

    def _close(self) -> None:
        start = self._marks["speech_end"]
        marks_ms = {mark: round((self._marks[mark] - start) * 1000, 1) for mark in MARKS if mark in self._marks}
        self._marks = {}
        self._numbered += 1
        turn = Turn(self._numbered, self._kind, marks_ms)
        self.turns.append(turn)
        logger.info(json.dumps({"event": "turn", "turn": turn.number, "kind": turn.kind, "marks_ms": marks_ms}))
        self._on_turn(turn)

    def summary(self) -> dict[str, float]:
        """Median and 95th percentile of end of speech -> first frame over spoken turns, and their number."""
        totals = [turn.total_ms for turn in self.turns if turn.kind == "voice"]
        if not totals:
            return {"turns": 0}
        p50, p95 = np.percentile(totals, [50, 95])
        return {"turns": len(totals), "turn_ms_p50": round(float(p50), 1), "turn_ms_p95": round(float(p95), 1)}
