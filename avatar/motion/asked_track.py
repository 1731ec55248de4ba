"""What is asked at each moment of a conversation: a standing request, and changes that come with the words.

A change belongs to a sample of a segment (a reply) and holds to the segment's end; then the standing request holds
again. Clearing forgets the changes to come and those in force.
"""

from __future__ import annotations

from collections import deque

from avatar.motion.asked_text import AskedChange
from avatar.motion.controls import Asked

_NONE = AskedChange()


class AskedTrack:
    """Keeps the standing request and the changes in force; `now` is what they come to.

    Every method returns whether `now` has become another.
    """

    def __init__(self) -> None:
        self._standing = Asked()
        self._change = _NONE
        self._coming: deque[tuple[int, int, AskedChange]] = deque()
        self.now = self._standing
        """What is asked at this moment."""

    def set(self, asked: Asked) -> bool:
        """The standing request; what a change in force speaks of stays changed."""
        self._standing = asked
        return self._settle()

    def mark(self, segment: int, sample: int, change: AskedChange) -> None:
        """From this sample of the segment on, the change holds. Marks come in order."""
        self._coming.append((segment, sample, change))

    def reach(self, segment: int, before: int) -> bool:
        """The segment is about to be heard up to the sample `before`."""
        while self._coming and self._coming[0][0] == segment and self._coming[0][1] < before:
            self._change = self._change.then(self._coming.popleft()[2])
        return self._settle()

    def end(self, segment: int) -> bool:
        """The segment is over; changes after its last sound never held."""
        while self._coming and self._coming[0][0] <= segment:
            self._coming.popleft()
        self._change = _NONE
        return self._settle()

    def clear(self) -> bool:
        """Nothing more will be heard of any segment so far."""
        self._coming.clear()
        self._change = _NONE
        return self._settle()

    def _settle(self) -> bool:
        before, self.now = self.now, self._change.over(self._standing)
        return self.now != before
