"""From tags between words to samples of the sound: a reply's clauses with what is asked in them, and when.

A clause is spoken whole (cutting it at a tag would break its melody). Where a tag stands inside one, as large a share
of the phones comes before it as of the letters, and after a comma the next words begin where a pause ends: exact at the
head of a sentence, where tags usually stand, and a syllable off at most within (docs/motion/controls.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from agent.speech.clauses import FIRST_CLAUSE_CHARS, MAX_CHARS, ClauseSplitter
from agent.speech.voice import SpeechChunk
from agent.tags import TagReader
from avatar.audio.phones import TimedPhone
from avatar.clock import STREAM_RATE
from avatar.motion.asked_text import AskedChange

PAUSE_REACH_S: Final = 0.6
"""A pause this near to the reckoned moment of a tag after a comma is that comma's."""
_MARKS: Final = (",", ";", ":", "-", "–", "—", "…", ".", "!", "?")


@dataclass(frozen=True, slots=True)
class TaggedPiece:
    """A clause without tags. changes: (characters of the clause before it, what is asked), in order."""

    text: str
    changes: tuple[tuple[int, AskedChange], ...] = ()


class TaggedSplitter:
    """`ClauseSplitter` for text with tags: the pieces, joined, are the text without them."""

    def __init__(self, *, first_clause_chars: int | None = FIRST_CLAUSE_CHARS) -> None:
        """first_clause_chars: see ClauseSplitter."""
        self._tags = TagReader()
        self._clauses = ClauseSplitter(first_clause_chars=first_clause_chars)
        self._coming: list[tuple[int, AskedChange]] = []
        self._read = 0  # characters given to the splitter
        self._cut = 0  # characters of the pieces that have come out of it

    def push(self, text: str) -> list[TaggedPiece]:
        """Add text; returns the pieces now known to be complete, in order."""
        return list(self._pieces(self._tags.push(text)))

    def flush(self) -> list[TaggedPiece]:
        """Nothing more comes for now: returns what is left. A tag after the last word waits for more words."""
        pieces = list(self._pieces(self._tags.flush()))
        return pieces + [self._tagged(piece) for piece in self._clauses.flush()]

    def _pieces(self, parts: Sequence[str | AskedChange]) -> Iterator[TaggedPiece]:
        for part in parts:
            if isinstance(part, str):
                self._read += len(part)
                for piece in self._clauses.push(part):
                    yield self._tagged(piece)
            else:
                self._coming.append((self._read, part))

    def _tagged(self, text: str) -> TaggedPiece:
        start, self._cut = self._cut, self._cut + len(text)
        inside = [(at - start, change) for at, change in self._coming if at < self._cut]
        del self._coming[: len(inside)]
        return TaggedPiece(text, tuple(inside))


def split_tagged(text: str) -> Iterator[TaggedPiece]:
    """Pieces of a whole text, lazily."""
    splitter = TaggedSplitter(first_clause_chars=None)
    step = 4 * MAX_CHARS
    for start in range(0, len(text), step):
        yield from splitter.push(text[start : start + step])
    yield from splitter.flush()


class TagPlacer:
    """Puts a piece's changes into the chunks of sound that it becomes; what finds no sound waits for the next."""

    def __init__(self) -> None:
        self._waiting: list[AskedChange] = []
        self._said = 0  # letters of the piece that have become sound

    def place(self, piece: TaggedPiece, chunk: SpeechChunk) -> SpeechChunk:
        """The chunk with the changes that belong to it. Call it for each chunk of a piece in turn, then `end`."""
        letters = _letters(chunk.text)
        changes = [(0, change) for change in self._waiting]
        self._waiting.clear()
        for at, change in piece.changes:
            before = _letters(piece.text[:at]) - self._said
            if 0 <= before < letters:
                after_mark = piece.text[:at].rstrip()[-1:] in _MARKS
                changes.append((_sample(before / letters, chunk, after_mark=after_mark), change))
        self._said += letters
        return replace(chunk, changes=tuple(changes)) if changes else chunk

    def end(self, piece: TaggedPiece) -> None:
        """The piece has become all the sound that it will."""
        self._waiting += [change for at, change in piece.changes if _letters(piece.text[:at]) >= self._said]
        self._said = 0


def _letters(text: str) -> int:
    return sum(char.isalnum() for char in text)


def _sample(share: float, chunk: SpeechChunk, *, after_mark: bool) -> int:
    """The sample of a chunk at which `share` of its letters have been said."""
    if share <= 0.0:
        return 0
    if not chunk.phones:
        return int(share * len(chunk.pcm_S))
    moment_s = _moment(share, chunk.phones, after_mark=after_mark)
    return min(round(moment_s * STREAM_RATE), max(len(chunk.pcm_S) - 1, 0))


def _moment(share: float, phones: Sequence[TimedPhone], *, after_mark: bool) -> float:
    spoken = [phone for phone in phones if phone.phone != "sil"]
    if not spoken:
        return 0.0
    moment_s = spoken[min(round(share * len(spoken)), len(spoken) - 1)].start_s
    if not after_mark:
        return moment_s
    # Gaps between phones are pauses as well; the next words begin where one ends.
    ends = [b.start_s for a, b in pairwise(phones) if b.phone != "sil" and _is_pause(a, b)]
    near_s = min(ends, key=lambda end_s: abs(end_s - moment_s), default=moment_s)
    return near_s if abs(near_s - moment_s) <= PAUSE_REACH_S else moment_s


def _is_pause(before: TimedPhone, after: TimedPhone) -> bool:
    return before.phone == "sil" or after.start_s - before.end_s > 0.05
