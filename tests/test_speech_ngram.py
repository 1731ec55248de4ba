"""The language model is a probability distribution, and its file is what pocketsphinx reads."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.speech import lexicon
from agent.speech.ngram import END, ORDER, START, Ngrams, train

SENTENCES = st.lists(
    st.tuples(st.lists(st.sampled_from("abcd"), min_size=1, max_size=5), st.sampled_from([0.5, 1.0, 4.0])),
    min_size=1, max_size=8,
)  # fmt: skip


def next_word_mass(model: Ngrams, history: tuple[str, ...]) -> float:
    words = {*model.words, END}
    return sum(10 ** model._word(history, word) for word in words)


@given(SENTENCES, st.sampled_from([0.0, 0.2, 0.7]))
def test_every_history_has_next_words_of_mass_one(sentences: list[tuple[list[str], float]], share: float) -> None:
    model = train(sentences, {"x": 2.0, "y": 1.0, "a": 1.0}, background_share=share)
    histories = [(), *itertools.product([*"abcdxy", START], repeat=1), *itertools.product("abcdxy", repeat=ORDER - 1)]
    for history in histories:
        if all(word == START or word in model.words for word in history):
            assert next_word_mass(model, history) == pytest.approx(1, abs=1e-6)


def test_what_was_seen_is_likelier_than_its_words_in_disorder() -> None:
    question, statement = ["where", "is", "the", "lift"], ["the", "lift", "is", "new"]
    model = train([(question, 4.0), (statement, 1.0)], {}, background_share=0)
    assert model.score(question) > model.score(["lift", "the", "is", "where"]) + 3


def test_nothing_to_learn_from() -> None:
    with pytest.raises(ValueError, match="no sentence"):
        train([], {"a": 1.0}, background_share=0.1)


def test_files_hold_new_words_with_a_pronunciation(tmp_path: Path) -> None:
    files = lexicon.prepare(["Where is the Zorblatt?", "Tickets cost €12."], tmp_path)
    assert {"zorblatt", "tickets", "twelve", "euros", "hello"} <= files.domain_words
    assert files.unpronounced == ()
    entries = dict(line.split(" ", 1) for line in files.dict_path.read_text().splitlines())
    assert entries["zorblatt"].startswith("Z AO R B L AE T") or entries["zorblatt"].startswith("Z")
    assert "the(2)" in entries
    text = files.lm_path.read_text()
    assert text.startswith("\\data\\\n")
    assert text.endswith("\\end\\\n")


def test_no_sentences_still_leave_everyday_speech(tmp_path: Path) -> None:
    files = lexicon.prepare([], tmp_path)
    assert "hello" in files.domain_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't pay £3.50!", "don't pay pounds three fifty"),
        ("Café Ölçer’s, 10:30", "cafe olcer's ten thirty"),
        (
            "In 1998 and 2024 & 12,500",
            "in nineteen ninety eight and twenty twenty four and twelve thousand five hundred",
        ),
        ("你好 !?", ""),
        ("007 4915112345", "zero zero seven four nine one five one one two three four five"),
    ],
)
def test_normalise(text: str, words: str) -> None:
    assert " ".join(lexicon.normalise(text)) == words
