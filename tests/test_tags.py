"""Tags in streamed text: none is spoken, none is lost, and other braces stay."""

from __future__ import annotations

import logging
import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.tags import TagReader, strip_tags, without_tags
from avatar.motion.asked_text import KEYS, AskedChange, parse_change
from dialogue.tags import INSTRUCTION, words_of

WORDS = st.sampled_from(["Hello", " ", "there", ". ", "\n", "a{b}c", "{name}", "{ return 1; }", "}", "ä", "=", "é{"])
TAGS = st.sampled_from(
    [
        "{emotion=warm}", "{emotion=happy:0.7 gaze=8,2 liveliness=0.8 distance=near}", "{ Emotion = neutral }",
        "{{emotion=sad}}", '{emotion="firm"}', "{emotion=warm, liveliness=0.3}", "{emotion=warm,liveliness=0.3}",
    ]
)  # fmt: skip
BROKEN = st.sampled_from(
    ["{emotion=banana}", "{emotion}", "{emotion: warm}", "{mood=blue}", "{gaze=90,0}", "{emotion=}", "{liveliness=x}"]
)
OURS = re.compile(rf"(?:{'|'.join(KEYS)})\s*[=:]", re.IGNORECASE)


def read(text: str, cuts: list[int] | None = None) -> tuple[str, list[tuple[int, AskedChange]]]:
    """The words, and the changes with how many characters stand before them."""
    reader = TagReader(log=False)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts or []), len(text)]
    words, changes = "", []
    pieces = [part for a, b in pairwise(edges) for part in reader.push(text[a:b])]
    for part in [*pieces, *reader.flush()]:
        if isinstance(part, str):
            words += part
        else:
            changes.append((len(words), part))
    return words, changes


@given(st.lists(st.one_of(WORDS, TAGS, BROKEN), max_size=12).map("".join), st.lists(st.integers(0, 400), max_size=30))
def test_however_the_text_is_cut_it_is_read_the_same(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == read(text)


@given(st.text(alphabet="{}=emotion warm:;,'\"\n", max_size=40), st.lists(st.integers(0, 40), max_size=10))
def test_any_braces_are_read_the_same(text: str, cuts: list[int]) -> None:
    words, changes = read(text, cuts)
    assert (words, changes) == read(text)
    assert "{emotion=" not in words


@given(st.lists(st.one_of(st.sampled_from(["Hello", "there.", "Yes,", "ok"]), TAGS, BROKEN), max_size=10))
def test_no_tag_is_spoken_and_no_space_is_left_behind(parts: list[str]) -> None:
    words, changes = read(" ".join(parts))
    assert not OURS.search(words) and "{" not in words and "}" not in words
    assert words.split() == [part for part in parts if "{" not in part]
    assert "  " not in words
    assert len(changes) == sum("{" in part and part not in BROKEN.elements for part in parts)


@given(st.lists(WORDS, max_size=12).map("".join))
def test_text_without_tags_stays_as_it_is(text: str) -> None:
    assert read(text) == (text, [])


def test_positions_and_values() -> None:
    words, changes = read("Hi! {emotion=happy:0.7 gaze=8,2}Look {distance=near liveliness=animated}here.")
    assert words == "Hi! Look here."
    assert changes == [
        (4, parse_change({"emotion": "happy:0.7", "gaze": "8,2"})),
        (9, parse_change({"distance": "near", "liveliness": "animated"})),
    ]
    assert read("{emotion=warm gaze=banana}ok")[1] == [(0, parse_change({"emotion": "warm"}))], (
        "what makes sense counts"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{emotion=warm Hello there", "Hello there"),
        ("Hello {emotion=warm", "Hello "),
        ("{emotion=warm\nHello", "\nHello"),
        ("{emotion = {name}", "{name}"),
        ("{{{emotion=warm}}}", "{}"),
        ("{emotion=" + "x" * 500, None),
    ],
)
def test_a_tag_that_is_not_closed_is_not_spoken_either(text: str, words: str | None) -> None:
    spoken, changes = read(text)
    assert "emotion" not in spoken and (words is None or spoken == words)
    assert read(text, list(range(len(text)))) == (spoken, changes)


def test_only_what_may_become_a_tag_is_held_back() -> None:
    reader = TagReader()
    assert reader.push("Hello {") == ["Hello "]
    assert reader.push("name") == []
    assert "".join(map(str, reader.push("} and"))) == "{name} and"
    assert "".join(map(str, reader.push(" { re"))) == " "
    assert "".join(map(str, reader.push("turn 1"))) == "{ return 1"
    assert reader.push(" {emotion=wa") == [" "]
    assert reader.push("rm}") == [parse_change({"emotion": "warm"})]
    assert reader.push("Hi") == ["Hi"], "the space before it is enough"


def test_each_nonsense_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "visavis.tags"):
        for _ in range(3):
            reader = TagReader()
            reader.push("{emotion=grumpy}Hm. {emotion=warm}Well. {emotion sleepy}")
            strip_tags("{emotion=grumpy}Hm.")
    assert [record.getMessage().split(" is ignored: ")[0] for record in caplog.records] == [
        "the reply's tag {emotion=grumpy}",
        "the reply's tag {emotion sleepy}",
    ]


async def test_a_stream_without_its_tags() -> None:
    async def pieces():  # type: ignore[no-untyped-def]
        for piece in ("{emo", "tion=warm}He", "llo. {emotion=", "sad}", " Bye. {nam", "e}"):
            yield piece

    assert "".join([piece async for piece in without_tags(pieces())]) == "Hello. Bye. {name}"


def test_the_instruction_for_language_models_teaches_what_works() -> None:
    words, changes = read(INSTRUCTION)
    assert len(changes) >= 5 and "{" not in words
    _, example = read(INSTRUCTION.partition("Example: ")[2])
    assert len(example) == 2
    assert words_of("{emotion=sad} Oh. {name} {gaze=5,0}Yes.") == "Oh. {name} Yes."


@pytest.mark.parametrize(
    "wrong", ["{/emotion}", '{"emotion": "warm"}', "{emotion:warm}", "{'gaze': 3,0}", "{“emotion”=warm}"]
)
def test_what_language_models_make_of_tags_is_not_spoken(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "visavis.tags"):
        reader = TagReader()
        parts = [part for char in f"Good. {wrong} Day" for part in reader.push(char)] + reader.flush()
    assert "".join(map(str, parts)) == "Good. Day" == strip_tags(f"Good. {wrong} Day")
    key = "gaze" if "gaze" in wrong else "emotion"
    assert not caplog.records or caplog.records[0].getMessage().endswith(f"it is written {{{key}=...}}")
    assert strip_tags('{"name": 1} {/b}') == '{"name": 1} {/b}'


@pytest.mark.parametrize("pair", ["a=1, ", "a=1,,, ", "a=1,;", "emotion=warm, ", 'a="1, ', "a = 1 , "])
def test_a_list_of_pairs_that_never_closes_costs_no_time(pair: str) -> None:
    started = time.perf_counter()
    assert strip_tags("{" + 40 * pair + " and").count("=") >= 38
    reader = TagReader(log=False)
    for char in "{" + 40 * pair + " and":
        reader.push(char)
    assert time.perf_counter() - started < 1.0
