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


_ESPEAK: dict[str, tuple[str, ...]] = {
    # vowels
    "@": ("AH",), "@L": ("AH", "L"), "3": ("ER",), "3:": ("ER",), "a": ("AE",), "a#": ("AH",), "aa": ("AE",),
    "A": ("AA",), "A:": ("AA",), "A@": ("AA", "R"), "0": ("AA",), "O": ("AO",), "O:": ("AO",), "O2": ("AO",),
    "O@": ("AO", "R"), "o@": ("AO", "R"), "o": ("OW",), "E": ("EH",), "e": ("EY",), "e@": ("EH", "R"), "e:": ("EY",),
    "I": ("IH",), "I2": ("IH",), "i": ("IY",), "i:": ("IY",), "i@": ("IH", "R"), "i@3": ("IH", "R"), "U": ("UH",),
    "U@": ("UH", "R"), "u": ("UW",), "u:": ("UW",), "V": ("AH",), "aI": ("AY",), "aI@": ("AY", "ER"),
    "aI3": ("AY", "ER"), "aU": ("AW",), "aU@": ("AW", "ER"), "eI": ("EY",), "oU": ("OW",), "OI": ("OY",),
    # consonants
    "b": ("B",), "d": ("D",), "D": ("DH",), "dZ": ("JH",), "f": ("F",), "g": ("G",), "h": ("HH",), "j": ("Y",),
    "k": ("K",), "l": ("L",), "m": ("M",), "n": ("N",), "N": ("NG",), "p": ("P",), "r": ("R",), "R": ("R",),
    "s": ("S",), "S": ("SH",), "t": ("T",), "T": ("TH",), "tS": ("CH",), "v": ("V",), "w": ("W",), "x": ("K",),
    "z": ("Z",), "Z": ("ZH",), "C": ("SH",), "H": ("HH",),
}  # fmt: skip


def from_espeak(mnemonic: str) -> tuple[str, ...]:
    """espeak-ng phoneme mnemonic -> one or two phones; `sil` for a pause; () for marks that make no phone."""
    name = mnemonic.lstrip("',%=|")
    if not name or name.startswith("_"):
        return ("sil",)
    # Allophones carry a digit, `#` or `-` behind the name of their phoneme: t#, I2, r-, @-.
    return _ESPEAK.get(name) or _ESPEAK.get(name.rstrip("0123456789#-:;^")) or ()


_IPA = {
    "ɑ": "AA", "a": "AA", "ɐ": "AH", "æ": "AE", "ʌ": "AH", "ə": "AH", "ɔ": "AO", "ɒ": "AA", "o": "OW", "ɛ": "EH",
    "e": "EY", "ɚ": "ER", "ɝ": "ER", "ɜ": "ER", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "ʊ": "UH", "u": "UW",
    "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY", "tʃ": "CH", "dʒ": "JH",
    "b": "B", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "g": "G", "h": "HH", "j": "Y", "k": "K", "l": "L", "ɫ": "L",
    "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "ɾ": "D", "s": "S", "ʃ": "SH", "t": "T", "θ": "TH",
    "v": "V", "w": "W", "ʍ": "W", "x": "K", "z": "Z", "ʒ": "ZH",
    " ": "sil", ".": "sil", ",": "sil", "!": "sil", "?": "sil", ";": "sil", ":": "sil", "—": "sil", "…": "sil",
}  # fmt: skip


def from_ipa(symbol: str) -> str | None:
    """IPA symbol, or pair that is one phone (`aɪ`, `tʃ`) -> phone; None for marks of stress and length, and others."""
    return _IPA.get(symbol)
