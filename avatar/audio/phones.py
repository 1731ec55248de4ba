"""Phone labels with times: how a synthesiser that knows its own text tells the lips."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimedPhone:
    """One phone of speech.

    phone: ARPAbet, upper case, no stress digit (`AA B CH ...`), or `sil`.
    start_s, end_s: seconds from the first sample of the audio the phone came with; start_s <= end_s.
    """

    phone: str
    start_s: float
    end_s: float

    def shifted(self, seconds: float) -> TimedPhone:
        """The same phone, later by `seconds`."""
        return TimedPhone(self.phone, self.start_s + seconds, self.end_s + seconds)
