"""Tags in a reply: `{emotion=warm}` before the words that are to be said warmly (docs/motion/controls.md).

A tag is a pair of braces around `key=value` parts, or around anything that begins with one of our keys (`{/emotion}`
and `{"emotion": "warm"}` too); other braces are text. Whatever is a tag is taken out of the words, also when it makes
no sense (then it is logged), so that none is ever spoken. Text comes in pieces; only what may yet become a tag is held
back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from typing import Final

from avatar.motion.asked_text import KEYS, AskedChange, parse_change

logger = logging.getLogger("visavis.tags")

MAX_TAG_CHARS: Final = 200
"""A brace that has not closed by then has opened no tag."""
_MAX_COMPLAINTS: Final = 100

_KEY: Final = r"[A-Za-z_]{1,30}"
_OURS: Final = rf"(?:{'|'.join(KEYS)})"
# Atomic: a comma belongs to the value before it, and a list of pairs that never closes is read once, not in 2**n ways.
_VALUE: Final = r"(?>\"[^\"{}]{0,60}\"|'[^'{}]{0,60}'|[^\s{}\"';]{1,60})"
_PAIR: Final = rf"{_KEY}\s*=\s*{_VALUE}"
_MARK: Final = r"[/\"'“‘]"
"""What language models put before a key of ours: the slash of a closing tag, quotation marks as in JSON."""
_TAG: Final = re.compile(
    rf"(?P<open>\{{{{1,2}})\s*(?:(?P<pairs>{_PAIR}(?:[,;]*\s+{_PAIR}|;{_PAIR})*)(?:\s|[,;])*"
    rf"|{_MARK}?(?P<broken>{_OURS})\b[^{{}}]*)(?P<close>\}}{{1,2}})",
    re.IGNORECASE,
)
_PAIRS: Final = re.compile(rf"({_KEY})\s*=\s*({_VALUE})")
_JOINED: Final = re.compile(rf"[,;]\s*(?={_OURS}\s*=)", re.IGNORECASE)
_UNCLOSED: Final = re.compile(rf"\{{{{1,2}}\s*{_OURS}\s*=(?:\s*{_VALUE})?", re.IGNORECASE)
"""A tag of ours that is not closed, up to the end of what can only be its own."""
_MAYBE: Final = re.compile(
    rf"\{{{{1,2}}\s*(?:$|{_KEY}\s*(?:$|=)|{_OURS}\b|{_MARK}(?:$|{_KEY}$|{_OURS}\b))", re.IGNORECASE
)
"""A brace that may yet open a tag."""


class TagReader:
    """Feed a reply with `push`, finish with `flush`; both return its words and its changes in order.

    The words, joined, are the reply without its tags and without the space that a tag leaves behind.
    """

    def __init__(self, *, log: bool = True) -> None:
        """log: write what is wrong with a tag to the log."""
        self._log = log
        self._held = ""
        self._last = " "
        self._after_tag = False

    def push(self, text: str) -> list[str | AskedChange]:
        """Add text; returns what is now known."""
        self._held += text
        return list(self._read(final=False))

    def flush(self) -> list[str | AskedChange]:
        """The text has ended: returns what was held back, and starts afresh."""
        parts = list(self._read(final=True))
        self._held, self._last, self._after_tag = "", " ", False
        return parts

    def _read(self, *, final: bool) -> Iterator[str | AskedChange]:
        while self._held:
            at = self._held.find("{")
            if at != 0:
                head = self._held if at < 0 else self._held[:at]
                self._held = self._held[len(head) :]
                yield from self._words(head)
                continue
            tag = _TAG.match(self._held)
            if tag is None or tag.end() > MAX_TAG_CHARS:
                if not final and self._undecided():
                    return
                yield from self._no_tag()
                continue
            missing = len(tag["open"]) - len(tag["close"])
            if missing > 0 and tag.end() == len(self._held) and not final:
                return  # the second brace of "}}" may come
            self._held = self._held[tag.end() + min(missing, 0) :]
            self._after_tag = True
            yield from self._change(tag)

    def _undecided(self) -> bool:
        text = self._held
        closed = any(mark in text[2:] for mark in "{}") or len(text) > MAX_TAG_CHARS
        return not closed and _MAYBE.match(text) is not None

    def _no_tag(self) -> Iterator[str]:
        """The brace at the head opens no tag; what can only be an unclosed tag of ours goes all the same."""
        unclosed = _UNCLOSED.match(self._held)
        if unclosed is not None:
            self._held = self._held[unclosed.end() :]
            self._after_tag = True
            self._complain(unclosed[0], "it is not closed")
        else:
            self._held = self._held[1:]
            yield from self._words("{")

    def _words(self, text: str) -> Iterator[str]:
        if self._after_tag and self._last.isspace():
            text = text.lstrip(" \t")
        if text:
            self._after_tag = False
            self._last = text[-1]
            yield text

    def _change(self, tag: re.Match[str]) -> Iterator[AskedChange]:
        if tag["pairs"] is None:
            self._complain(tag[0], f"it is written {{{tag['broken'].lower()}=...}}")
            return
        change = AskedChange()
        for key, value in _PAIRS.findall(_JOINED.sub(" ", tag["pairs"])):
            try:
                change = change.then(parse_change({key.lower(): value.rstrip(",").strip("\"'")}))
            except ValueError as error:
                self._complain(tag[0], str(error))
        if change != AskedChange():
            yield change

    def _complain(self, tag: str, why: str) -> None:
        if self._log and tag not in _complained and len(_complained) < _MAX_COMPLAINTS:
            _complained.add(tag)
            logger.warning("the reply's tag %s is ignored: %s", " ".join(tag.split()), why)


_complained: set[str] = set()
"""Tags that have been logged: a backend that always writes the same nonsense is reported once."""


def strip_tags(text: str) -> str:
    """A whole text without its tags."""
    reader = TagReader(log=False)
    return "".join(part for part in [*reader.push(text), *reader.flush()] if isinstance(part, str))


async def without_tags(text: AsyncIterable[str]) -> AsyncGenerator[str, None]:
    """Streaming text without its tags."""
    reader = TagReader(log=False)
    async for piece in text:
        for part in reader.push(piece):
            if isinstance(part, str):
                yield part
    for part in reader.flush():
        if isinstance(part, str):
            yield part
