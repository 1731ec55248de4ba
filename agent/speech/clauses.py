"""Cut a stream of reply text into pieces that can be spoken, as early as sense allows.

Nothing is lost: the pieces of a reply, joined, are the reply. A piece ends where a sentence ends (so that a short
first sentence is spoken at once and not merged into the next), at a line break, at a clause mark when no sentence end
is in sight and the reply has not begun to sound yet, or at the longest length a voice is asked to take.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_CHARS = 240
"""Longest piece; about 15 s of speech."""

FIRST_CLAUSE_CHARS = 28
"""While text is still coming, the very first piece may end at a comma once it is this long (about 1.5 s of speech,
which is more than it takes to write and synthesise the next piece)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A full stop after these never ends a sentence, because a name or a figure follows.
_TITLES = _words(
    "mr mrs ms dr prof rev hon gen col capt lt sgt fr vs e.g i.e cf ca approx fig eq vol ch pp ed eds al esp viz"
)
# A full stop after these ends a sentence only when the next word starts with a capital.
_MAYBE = _words(
    "etc inc ltd co corp jr sr st ave blvd rd sq dept est tel ext min max hr hrs a.m p.m am pm u.s u.k e.u ph.d b.c a.d"
    " jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun"
)
# A full stop after these belongs to them when a number follows ("No. 5", "p. 12").
_BEFORE_NUMBER = _words("no nos nr p art sec")

_CLOSERS = "\"'”’»)]}"
_STOP = re.compile(rf"[.!?…]+[{re.escape(_CLOSERS)}]*(?=\s)|[。！？]|\n+")
_CLAUSE_MARK = re.compile(r"[,;:](?=\s)|\s[–—-](?=\s)|—")
_LAST_WORD = re.compile(r"[^\s(\[{\"'“‘«]+$")


class ClauseSplitter:
    """Feed text with `push`, finish with `flush`; both return the pieces that are complete.

    max_chars: longest piece, at least 20.
    first_clause_chars: shortest first piece that may end at a comma; None: only sentences.
    """

    def __init__(self, *, max_chars: int = MAX_CHARS, first_clause_chars: int | None = FIRST_CLAUSE_CHARS) -> None:
        if max_chars < 20:
            raise ValueError(f"max_chars must be at least 20, not {max_chars}")
        self._max_chars = max_chars
        self._first_clause_chars = first_clause_chars
        self._buffer = ""
        self._started = False

    def push(self, text: str) -> list[str]:
        """Add text; returns the pieces now known to be complete, in order."""
        self._buffer += text
        return list(self._take(final=False))

    def flush(self) -> list[str]:
        """The text has ended: returns what is left and starts afresh."""
        pieces = list(self._take(final=True))
        if self._buffer:
            pieces.append(self._buffer)
        self._buffer = ""
        self._started = False
        return pieces

    def _take(self, *, final: bool) -> Iterator[str]:
        while (cut := self._cut(final=final)) is not None:
            piece, self._buffer = self._buffer[:cut], self._buffer[cut:]
            if _speakable(piece):
                self._started = True
            yield piece

    def _cut(self, *, final: bool) -> int | None:
        """Where the first piece of the buffer ends, or None while that cannot be told yet."""
        text = self._buffer
        window = text[: self._max_chars + 1]
        for match in _STOP.finditer(window):
            if match.end() > self._max_chars:
                break
            if not _speakable(text[: match.start()]):
                continue
            ends = _ends_sentence(text, match.start(), match.end(), final=final)
            if ends is None:
                break
            if ends:
                return _after_space(text, match.end(), self._max_chars)
        else:
            first = self._first_clause_chars
            if first is not None and not self._started and not final:
                for match in _CLAUSE_MARK.finditer(window):
                    if match.end() >= first:
                        return _after_space(text, match.end(), self._max_chars)
        if len(text) <= self._max_chars:
            return None
        return self._forced_cut(window)

    def _forced_cut(self, window: str) -> int:
        """The text runs on without an end: cut at its last clause mark, else its last space, else hard."""
        floor = self._max_chars // 3
        marks = [match.end() for match in _CLAUSE_MARK.finditer(window) if floor <= match.end() <= self._max_chars]
        if marks:
            return marks[-1]
        spaces = [match.end() for match in re.finditer(r"\s+", window) if floor <= match.end() <= self._max_chars]
        return spaces[-1] if spaces else self._max_chars


def split_text(text: str, *, max_chars: int = MAX_CHARS) -> Iterator[str]:
    """Pieces of a whole text, lazily; joined, they are the text."""
    splitter = ClauseSplitter(max_chars=max_chars, first_clause_chars=None)
    step = 4 * max_chars
    for start in range(0, len(text), step):
        yield from splitter.push(text[start : start + step])
    yield from splitter.flush()


def _speakable(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _after_space(text: str, end: int, limit: int) -> int:
    """The white space that follows belongs to the piece before it."""
    while end < len(text) and end < limit and text[end].isspace():
        end += 1
    return end


def _ends_sentence(text: str, start: int, end: int, *, final: bool) -> bool | None:
    """Whether the mark at text[start:end] ends a sentence; None when what follows has to be seen first."""
    mark = text[start:end]
    if mark[0] != "." or mark.startswith(".."):
        return True
    word_match = _LAST_WORD.search(text[:start])
    word = word_match.group().lower() if word_match else ""
    if word in _TITLES:
        return False
    if word.isdigit() and not _speakable(text[: start - len(word)]):
        return False  # "1. First ..." is a list's number, not a sentence
    initial = len(word) == 1 and word.isalpha() and word not in ("a", "i")
    if not (initial or word in _MAYBE or word in _BEFORE_NUMBER):
        return True
    following = text[end:].lstrip()
    if not following:
        return True if final else None
    if word in _BEFORE_NUMBER:
        return not following[0].isdigit()
    if initial:
        return False
    return following[0].isupper()
