"""Do the lips meet on P, B and M, and only there?

Frame k shows the time [k / 25, (k + 1) / 25) s. Lips count as closed when they are less than CLOSED_MM apart: a pixel
of the 512 px picture. Shape suffix: T = frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS

CLOSED_MM: Final = 0.7
"""Lips nearer than this are together: one pixel of the default presenter at 512 px (63 mm between the eyes)."""
BILABIAL: Final = frozenset({"P", "B", "M"})
_NEARLY: Final = frozenset({"F", "V", "sil"})
"""Neither asked to close nor to open."""
SHORTEST_BILABIAL_S: Final = 0.03
"""A shorter one need not be seen at 25 fps."""
SHORTEST_OPEN_S: Final = 0.06
_CLEAR_S: Final = 1.0 / FPS


@dataclass(frozen=True)
class Closures:
    """Counts; add them up over clips. rates: see the properties, percent."""

    bilabials: int = 0
    hits: int = 0
    open_phones: int = 0
    falsely_closed: int = 0
    events: int = 0
    false_events: int = 0

    def __add__(self, other: Closures) -> Closures:
        return Closures(*(a + b for a, b in zip(self._row(), other._row(), strict=True)))

    def _row(self) -> tuple[int, ...]:
        return (self.bilabials, self.hits, self.open_phones, self.falsely_closed, self.events, self.false_events)

    @property
    def hit_pct(self) -> float:
        """Bilabials on which the lips met."""
        return _percent(self.hits, self.bilabials)

    @property
    def false_pct(self) -> float:
        """Phones that are no bilabial, in whose middle the lips were closed."""
        return _percent(self.falsely_closed, self.open_phones)

    @property
    def false_event_pct(self) -> float:
        """Closings in mid-speech that belong to no bilabial."""
        return _percent(self.false_events, self.events)


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else float("nan")


def count_closures(gap_T: NDArray[Any], phones: Sequence[TimedPhone], *, slack_s: float = 0.0) -> Closures:
    """Closures of one clip.

    gap_T: distance of the lips in mm. phones: in order, seconds on the same clock, gaps between them are silence.
    slack_s: how wrong the phones' times may be (0 for a synthesiser's own, 0.02 for an aligner's).

    A bilabial of 30 ms or more is hit when the frame at its middle is closed, with slack_s any frame that comes within
    slack_s of its middle (any frame that overlaps it would be too lenient: lips two frames late still would). A phone
    of 60 ms or more that is neither bilabial, F, V nor silence, and whose middle is a frame or more away from all of
    these, is falsely closed when the frame at its middle is. A run of closed frames between open ones, clear of
    silence, is an event; it is false when no bilabial, widened by slack_s and a frame, overlaps it.
    """
    closed_T = np.asarray(gap_T) < CLOSED_MM
    end_s = len(closed_T) / FPS
    lips = [p for p in phones if p.phone in BILABIAL]
    bilabials = hits = open_phones = falsely_closed = 0
    for item in phones:
        length_s = item.end_s - item.start_s
        if item.start_s < 0.0 or item.end_s > end_s:
            continue
        if item.phone in BILABIAL and length_s >= SHORTEST_BILABIAL_S:
            bilabials += 1
            middle_s = (item.start_s + item.end_s) / 2
            hits += bool(closed_T[_overlapping(middle_s - slack_s, middle_s + slack_s)].any())
        elif item.phone not in _NEARLY | BILABIAL and length_s >= SHORTEST_OPEN_S:
            middle_s = (item.start_s + item.end_s) / 2
            if _distance(middle_s, phones, end_s) >= _CLEAR_S + slack_s:
                open_phones += 1
                falsely_closed += bool(closed_T[min(int(middle_s * FPS), len(closed_T) - 1)])
    events = false_events = 0
    for first, last in _runs(closed_T):
        start_s, stop_s = first / FPS, last / FPS
        if first == 0 or last == len(closed_T) or not _speaking(start_s, stop_s, phones):
            continue
        events += 1
        reach_s = _CLEAR_S + slack_s
        false_events += not any(p.start_s - reach_s < stop_s and start_s < p.end_s + reach_s for p in lips)
    return Closures(bilabials, hits, open_phones, falsely_closed, events, false_events)


def _overlapping(start_s: float, end_s: float) -> slice:
    """Frames that share time with the stretch, at least the one in which it starts."""
    first = max(0, int(np.floor(start_s * FPS + 1e-6)))
    return slice(first, max(first + 1, int(np.ceil(end_s * FPS - 1e-6))))


def _distance(at_s: float, phones: Sequence[TimedPhone], end_s: float) -> float:
    """Seconds to the nearest silence, bilabial, F or V; outside all phones is silence."""
    shut = [p for p in phones if p.phone in _NEARLY | BILABIAL]
    ranges = [(p.start_s, p.end_s) for p in shut]
    if phones:
        ranges += [(-1.0, phones[0].start_s), (phones[-1].end_s, end_s + 1.0)]
        ranges += [(a.end_s, b.start_s) for a, b in pairwise(phones) if b.start_s > a.end_s + 1e-3]
    return min((max(start - at_s, at_s - end, 0.0) for start, end in ranges), default=np.inf)


def _speaking(start_s: float, end_s: float, phones: Sequence[TimedPhone]) -> bool:
    """Whether phones other than silence fill the stretch, a frame around it included."""
    need = (start_s - _CLEAR_S, end_s + _CLEAR_S)
    covered = sum(max(0.0, min(p.end_s, need[1]) - max(p.start_s, need[0])) for p in phones if p.phone != "sil")
    return covered >= need[1] - need[0] - 0.02


def _runs(mask_T: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, last) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask_T, False].astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
