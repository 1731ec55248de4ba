"""The embedded voices: phone times that fit the sound, any text survived, nothing left behind when cancelled."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.speech.arpabet import ARPABET, from_espeak
from agent.speech.errors import SpeechError
from agent.speech.espeak import EspeakVoice, pronounce, to_phones
from agent.speech.flite import VOICES, FliteVoice, flite_path, parse_phones, spell_out
from agent.speech.voice import SpeechChunk, Voice, speakable_text, synthesize_all
from avatar.clock import STREAM_RATE

needs_flite = pytest.mark.skipif(flite_path() is None, reason="flite is not installed (apt install flite)")

ENGINES = [
    *(pytest.param(("flite", name), marks=needs_flite, id=f"flite-{name}") for name in VOICES),
    pytest.param(("espeak", "en-us"), id="espeak-en-us"),
    pytest.param(("espeak", "en-us+f3"), id="espeak-en-us-f3"),
]
SENTENCE = "Peter bought my baby a map, and Bob may pay."
PWNED = "/tmp/visavis-pwned"
HOSTILE = {
    "empty": "",
    "space": " \n\t ",
    "punctuation": "... !? -- (;) \"'",
    "control": "hello\x00\x07\x1b[31m there\x7f\u202e you",
    "shell": f"$(touch {PWNED}) `id`; rm -rf / | cat & -o /tmp/x.wav --help",
    "option": "-voice nobody -f /etc/passwd",
    "markup": "**Bold** <speak rate='9'>&amp; [link](http://x.y/z) [[inp:phon]] # title",
    "unicode": "naïve café ☕ 😀 你好 Ελλάδα \ud7ff ‮ ﷽",
    "numbers": "£3.50 or €4, 12,345,678 at 10:30, 1/2, 50%, 20–30 km/h, 1e400, 0x1F",
    "long word": "a" * 3000,
    "vowels": "aeiou" * 60,
    "long digits": "7" * 500,
}


@pytest.fixture(params=ENGINES)
async def voice(request: pytest.FixtureRequest) -> AsyncIterator[Voice]:
    engine, name = request.param
    made: Voice = FliteVoice(name) if engine == "flite" else EspeakVoice(name)
    yield made
    await made.aclose()


@pytest.fixture(params=[pytest.param("flite", marks=needs_flite), "espeak"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Voice]:
    made: Voice = FliteVoice() if request.param == "flite" else EspeakVoice()
    yield made
    await made.aclose()


def children() -> set[str]:
    """Our child processes that still run (not those that wait to be reaped)."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            status = Path(f"/proc/{pid}/stat")
            if status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(pid)
    return found


def loudness(chunk: SpeechChunk, start_s: float, end_s: float) -> float:
    part_S = chunk.pcm_S[int(start_s * STREAM_RATE) : int(end_s * STREAM_RATE)].astype(np.float64)
    return float(np.sqrt(np.mean(part_S**2))) if len(part_S) else 0.0


async def test_phone_times_cover_the_audio_and_fit_it(voice: Voice) -> None:
    chunk = await synthesize_all(voice, SENTENCE)
    phones = chunk.phones
    assert phones is not None
    assert 1.5 < chunk.duration_s < 6
    assert phones[0].start_s == 0
    assert abs(phones[-1].end_s - chunk.duration_s) < 0.13
    for before, after in pairwise(phones):
        assert before.start_s < before.end_s
        assert before.end_s == pytest.approx(after.start_s, abs=1e-6)
    assert {phone.phone for phone in phones} <= ARPABET | {"sil"}
    assert sum(phone.phone in "PBM" for phone in phones) >= 8  # Peter bought my baby map Bob Bob may pay
    # Vowels are loud where they are said to be, and what is said to be silence is quiet.
    vowels = [loudness(chunk, p.start_s, p.end_s) for p in phones if p.phone[0] in "AEIOU"]
    pauses = [loudness(chunk, p.start_s + 0.02, p.end_s - 0.02) for p in phones if p.phone == "sil"]
    assert min(vowels) > 3 * max(pauses)


async def test_silence_before_the_first_word_is_short(voice: Voice) -> None:
    chunk = await synthesize_all(voice, "Hello there.")
    assert chunk.phones is not None
    assert chunk.phones[0].end_s <= 0.06


async def test_one_chunk_for_each_sentence(engine: Voice) -> None:
    chunks = [chunk async for chunk in engine.synthesize("Yes. It is open today. Come in!")]
    assert [chunk.text for chunk in chunks] == ["Yes.", "It is open today.", "Come in!"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_text(engine: Voice, name: str) -> None:
    async with asyncio.timeout(60):
        chunk = await synthesize_all(engine, HOSTILE[name])
    assert not os.path.exists(PWNED)  # noqa: ASYNC240, PTH110 - a look at the file system is all there is to it
    if name in ("empty", "space", "punctuation"):
        assert len(chunk.pcm_S) == 0
    else:
        assert chunk.duration_s > 0.2
    if name == "option":
        assert chunk.duration_s > 1.5, "read aloud, not obeyed"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_any_text_is_survived(text: str) -> None:
    async def say() -> SpeechChunk:
        voice = EspeakVoice()
        try:
            return await synthesize_all(voice, text)
        finally:
            await voice.aclose()

    chunk = asyncio.run(say())
    assert chunk.phones is not None
    assert all(0 <= p.start_s < p.end_s <= chunk.duration_s + 1e-9 for p in chunk.phones)


async def test_twenty_at_once_are_bounded_and_all_answered(engine: Voice) -> None:
    before = children()
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(children() - before))
            await asyncio.sleep(0.002)

    watching = asyncio.create_task(watch())
    texts = [f"This is sentence number {n}." for n in range(20)]
    chunks = await asyncio.gather(*(synthesize_all(engine, text) for text in texts))
    watching.cancel()
    assert all(chunk.duration_s > 1 for chunk in chunks)
    assert [chunk.text for chunk in chunks] == texts
    assert 1 <= most <= max(2, os.cpu_count() or 1)


async def test_cancelled_at_any_point_leaves_no_process(engine: Voice) -> None:
    before = children()
    long = "This is a rather long sentence which takes the engine a little while to say, so that we can stop it. " * 3
    for delay_s in (0, 0.001, 0.005, 0.02, 0.05):
        task = asyncio.create_task(synthesize_all(engine, long))
        await asyncio.sleep(delay_s)
        if task.cancel():  # espeak-ng may have finished already
            with pytest.raises(asyncio.CancelledError):
                await task
    async with aclosing(engine.synthesize(long)) as chunks:  # closed after the first chunk
        async for _ in chunks:
            break
    assert (await synthesize_all(engine, "Still here.")).duration_s > 0.5
    await engine.aclose()
    await engine.aclose()
    assert children() <= before


async def test_espeak_comes_back_after_a_crash() -> None:
    voice = EspeakVoice()
    await synthesize_all(voice, "One.")
    voice._helper.kill()
    async with asyncio.timeout(10):
        try:
            chunk = await synthesize_all(voice, "Two.")
        except SpeechError:  # the request met the dying process; the next one does not
            chunk = await synthesize_all(voice, "Two.")
    assert chunk.duration_s > 0.3
    await voice.aclose()


async def test_espeak_unknown_voice_says_so() -> None:
    with pytest.raises(SpeechError, match="no name"):
        EspeakVoice("../../etc/passwd")
    voice = EspeakVoice("xx-nowhere")
    with pytest.raises(SpeechError, match="no voice named"):
        await synthesize_all(voice, "Hello.")
    await voice.aclose()


@needs_flite
def test_flite_unknown_voice_and_rate_say_so() -> None:
    with pytest.raises(SpeechError, match="slt, rms, awb, kal16"):
        FliteVoice("nobody")
    with pytest.raises(SpeechError, match="out of range"):
        FliteVoice(rate=7)


def test_flite_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SpeechError, match="apt install flite"):
        FliteVoice()


async def test_rate_changes_the_length(engine: Voice) -> None:
    fast: Voice = FliteVoice(rate=2.0) if isinstance(engine, FliteVoice) else EspeakVoice(rate=2.0)
    normal_s = (await synthesize_all(engine, SENTENCE)).duration_s
    fast_s = (await synthesize_all(fast, SENTENCE)).duration_s
    await fast.aclose()
    assert 0.35 < fast_s / normal_s < 0.75


@needs_flite
async def test_flite_is_quick() -> None:
    voice = FliteVoice()
    took = []
    for _ in range(3):
        started = time.perf_counter()
        await synthesize_all(voice, "The museum is open today.")
        took.append(time.perf_counter() - started)
    assert min(took) < 0.5  # 60 ms on an idle machine


def test_flite_phones_of_several_utterances_follow_each_other() -> None:
    phones = parse_phones("pau:0.200 ax:0.300 pau:0.400 \npau:0.100 nonsense b:x t:0.250 \n")
    assert [(p.phone, p.start_s, p.end_s) for p in phones] == [
        ("sil", 0.0, 0.2), ("AH", 0.2, 0.3), ("sil", 0.3, 0.4), ("sil", 0.4, 0.5), ("T", 0.5, 0.65)
    ]  # fmt: skip


def test_flite_is_spelt_out_what_it_misreads() -> None:
    assert spell_out("£3.50–4, 9.30 am, café, 20 °C") == "3.50 pounds to 4, 9:30 am, cafe, 20 degrees celsius"


def test_espeak_phones() -> None:
    phones = to_phones([("k", 0.0), ("'A@", 0.1), (";", 0.3), ("_:", 0.4), ("_", 0.4)], 0.5)
    assert [(p.phone, round(p.start_s, 3), round(p.end_s, 3)) for p in phones] == [
        ("K", 0.0, 0.1), ("AA", 0.1, 0.22), ("R", 0.22, 0.4), ("sil", 0.4, 0.5)
    ]  # fmt: skip
    assert from_espeak("t#") == ("T",)
    assert from_espeak("'3:") == ("ER",)


def test_espeak_tells_how_a_word_is_said() -> None:
    assert pronounce(["pram", "map"]) == {"pram": ["P", "R", "AE", "M"], "map": ["M", "AE", "P"]}


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Hello** _there_ `you`", "Hello there you"),
        ("## Title", "Title"),
        ("See [our page](https://example.org/a).", "See our page."),
        ("Wait 😀!", "Wait !"),
        ("?!", ""),
    ],
)
def test_speakable_text(text: str, spoken: str) -> None:
    assert speakable_text(text) == spoken
