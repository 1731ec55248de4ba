"""Phone names of the engines -> ARPAbet without stress digits, or `sil`."""

from __future__ import annotations

_NAMES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
ARPABET = frozenset(_NAMES.split())
"""The 39 phones of CMUdict."""

_FLITE = {
    "ax": "AH", "axr": "ER", "ix": "IH", "ux": "UW", "el": "L", "em": "M", "en": "N", "dx": "D", "nx": "N", "hv": "HH",
    "pau": "sil", "ssil": "sil", "h#": "sil", "brth": "sil", "#": "sil",
}  # fmt: skip


def from_flite(phone: str) -> str:
    """flite / festival US-English phone -> ARPAbet; an unknown name becomes `sil` rather than a wrong mouth."""
    mapped = _FLITE.get(phone, phone.upper())
    return mapped if mapped in ARPABET else "sil"
