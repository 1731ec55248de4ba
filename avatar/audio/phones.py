"""Phone labels with times, and the 15 visemes they fold into.

A synthesiser that knows its own text says which phone sounds when; the lips follow those times.
Audio without them goes through the viseme network, whose 15 classes are the rows of `VISEMES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PHONES: Final[tuple[str, ...]] = (
    "sil",
    "P", "B", "M", "F", "V", "TH", "DH", "T", "D", "N", "L", "S", "Z", "SH", "ZH", "CH", "JH",
    "K", "G", "NG", "HH", "R", "ER", "W", "Y",
    "AA", "AE", "AH", "AO", "AW", "AY", "EH", "EY", "IH", "IY", "OW", "OY", "UH", "UW",
)  # fmt: skip
"""Silence and the 39 phones of ARPAbet as CMUdict uses them."""

VISEMES: Final[tuple[str, ...]] = (
    "sil", "PP", "FF", "TH", "DD", "SS", "CH", "KK", "RR", "AA", "AH", "EE", "II", "OO", "UU",
)  # fmt: skip
"""What phones look like: 15 classes, in the order of the viseme network's output."""

PHONE_TO_VISEME: Final[dict[str, str]] = {
    "sil": "sil",
    "P": "PP", "B": "PP", "M": "PP",
    "F": "FF", "V": "FF",
    "TH": "TH", "DH": "TH",
    "T": "DD", "D": "DD", "N": "DD", "L": "DD",
    "S": "SS", "Z": "SS",
    "SH": "CH", "ZH": "CH", "CH": "CH", "JH": "CH",
    "K": "KK", "G": "KK", "NG": "KK", "HH": "KK",
    "R": "RR", "ER": "RR",
    "AA": "AA", "AE": "AA", "AW": "AA", "AY": "AA",
    "AH": "AH",
    "EH": "EE", "EY": "EE",
    "IH": "II", "IY": "II", "Y": "II",
    "AO": "OO", "OW": "OO", "OY": "OO",
    "UH": "UU", "UW": "UU", "W": "UU",
}  # fmt: skip

_SYNONYMS: Final[dict[str, str]] = {
    "PAU": "sil", "SIL": "sil", "SP": "sil", "SPN": "sil", "NSN": "sil", "+NSN+": "sil", "<SIL>": "sil",
    "": "sil", "H#": "sil", "BRTH": "sil",
    "AX": "AH", "AXR": "ER", "IX": "IH", "UX": "UW", "DX": "D", "EL": "L", "EM": "M", "EN": "N",
    "NX": "N", "HV": "HH", "HH": "HH", "Q": "sil", "WH": "W",
}  # fmt: skip


def normalise_phone(label: str) -> str:
    """The label as ARPAbet without stress (`ah0` -> `AH`, `pau` -> `sil`).

    Raises ValueError for a label that is no phone of English.
    """
    bare = label.strip().upper().rstrip("0123456789")
    phone = _SYNONYMS.get(bare, bare)
    if phone not in PHONE_TO_VISEME:
        raise ValueError(f"{label!r} is not an ARPAbet phone; known are {', '.join(PHONES)}.")
    return phone


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
