"""Pieces of a streamed reply: nothing lost, nothing cut where a reader would not pause, the first one early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.speech.clauses import ClauseSplitter, split_text

TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from(list("aB1 .,;:!?…\n\"')—-")), st.characters(exclude_categories=["Cs"])),
    max_size=400,
)


def stream(parts: list[str], **options: int | None) -> list[str]:
    splitter = ClauseSplitter(**options)  # type: ignore[arg-type]
    pieces = [piece for part in parts for piece in splitter.push(part)]
    return pieces + splitter.flush()


@given(TEXTS, st.lists(st.integers(1, 30), max_size=60), st.integers(20, 80))
def test_pieces_joined_are_the_text_however_it_arrives(text: str, steps: list[int], max_chars: int) -> None:
    parts, rest = [], text
    for step in steps:
        parts.append(rest[:step])
        rest = rest[step:]
    pieces = stream([*parts, rest], max_chars=max_chars)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= max_chars for piece in pieces)


@given(TEXTS, st.integers(20, 80))
def test_without_clause_cuts_the_pieces_do_not_depend_on_the_chunking(text: str, max_chars: int) -> None:
    # A text shorter than the longest piece never needs a forced cut, whose place may depend on what has come.
    text = text[:max_chars]
    whole = stream([text], max_chars=max_chars, first_clause_chars=None)
    letter_by_letter = stream(list(text), max_chars=max_chars, first_clause_chars=None)
    # White space may come after the piece before it has been handed over.
    assert [p.strip() for p in whole if p.strip()] == [p.strip() for p in letter_by_letter if p.strip()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes. It is open today.", ["Yes. ", "It is open today."]),
        ("It costs 3.50 euros. Fine!", ["It costs 3.50 euros. ", "Fine!"]),
        ("Bring food, e.g. an apple. Enjoy.", ["Bring food, e.g. an apple. ", "Enjoy."]),
        ("Ask Dr. Smith or Mrs. Jones. Bye.", ["Ask Dr. Smith or Mrs. Jones. ", "Bye."]),
        ("J. R. Smith wrote it. Really?", ["J. R. Smith wrote it. ", "Really?"]),
        ("Open from 9 a.m. to 5 p.m. Come in!", ["Open from 9 a.m. to 5 p.m. ", "Come in!"]),
        ("See No. 5. It is red.", ["See No. 5. ", "It is red."]),
        ("No. It is closed.", ["No. ", "It is closed."]),
        ("1. Push the button. 2. Wait.", ["1. Push the button. ", "2. Wait."]),
        ('He said "stop." Then he left.', ['He said "stop." ', "Then he left."]),
        ("Wait... what? Yes!", ["Wait... ", "what? ", "Yes!"]),
        ("One line\nanother line", ["One line\n", "another line"]),
        ("Version 2.13.0 is at example.org now. Good.", ["Version 2.13.0 is at example.org now. ", "Good."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert stream([text], first_clause_chars=None) == expected
    assert stream(list(text), first_clause_chars=None) == expected


def test_a_short_first_sentence_is_not_merged_into_the_next() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("Yes! ") == ["Yes! "]


def test_the_first_clause_does_not_wait_for_the_sentence() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("On Thursdays we stay open until nine, ") == ["On Thursdays we stay open until nine, "]
    # Later ones do: a cut in mid-sentence costs melody, and there is sound to cover the wait.
    assert splitter.push("which many of our visitors like, and on Fridays") == []


def test_very_long_words_are_cut_hard() -> None:
    pieces = list(split_text("a" * 5000, max_chars=100))
    assert [len(piece) for piece in pieces] == [100] * 50
