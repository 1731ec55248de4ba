"""Conversations in real time: real voice activity detection, end of turn, voice and runner; the ears know the text."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import soxr
from livekit.agents import TurnHandlingOptions, inference
from numpy.typing import NDArray

from agent.latency import MARKS, Turn
from agent.runner import AvatarRunner
from agent.session import DIALOGUE_HINT, DIALOGUE_PROBLEM, Conversation, EndReason, Parts
from agent.speech.errors import SpeechError
from agent.speech.flite import FliteVoice
from agent.speech.voice import Utterance, Voice, synthesize_all
from avatar.clock import FPS, MIC_RATE, STREAM_RATE
from avatar.motion.idle import State
from avatar.motion.stream import MotionStream
from config import Settings, load
from dialogue.protocol import DialogueError
from tests.agent_stand_ins import DiscDecoder, KnowingSTT, ListSink, ScriptedDialogue, disc_area

LONG = (
    "Here is a long answer that goes on for a while. It has a second sentence, and a third one follows it at once. "
    "This is the third sentence. And here comes the last of them, at the very end."
)
PACKET = MIC_RATE // 25


async def long_answer(question: str) -> AsyncIterator[str]:
    yield LONG


async def short_answer(question: str) -> AsyncIterator[str]:
    yield "Yes, of course."


class Notes:
    """A listener that writes everything down, with the time."""

    def __init__(self) -> None:
        self.states: list[tuple[float, State]] = []
        self.transcripts: list[tuple[str, str, bool]] = []
        self.captions: list[tuple[str, str, bool, int | None]] = []
        self.turns: list[Turn] = []
        self.problems: list[str] = []
        self.problem_texts: list[str] = []
        self.ends: list[EndReason] = []

    def state(self, state: State) -> None:
        self.states.append((time.monotonic(), state))

    def transcript(self, segment: str, text: str, final: bool) -> None:
        self.transcripts.append((segment, text, final))

    def caption(self, segment: str, text: str, final: bool, start_sample: int | None) -> None:
        self.captions.append((segment, text, final, start_sample))

    def latency(self, turn: Turn) -> None:
        self.turns.append(turn)

    def problem(self, code: str, message: str, hint: str) -> None:
        self.problems.append(code)
        self.problem_texts.append(f"{message} {hint}")

    def ended(self, reason: EndReason) -> None:
        self.ends.append(reason)


class Scene:
    def __init__(self, conversation: Conversation, runner: AvatarRunner, notes: Notes, dialogue: ScriptedDialogue):
        self.conversation, self.runner, self.notes, self.dialogue = conversation, runner, notes, dialogue
        assert isinstance(runner.sink, ListSink)
        self.sink = runner.sink
        self._mic_start = time.monotonic()
        self._mic_samples = 0

    @property
    def spoken(self) -> list[int]:
        return [frame.index for frame in self.sink.frames if frame.speech]

    async def say(self, pcm_S: NDArray[np.int16]) -> None:
        """Speak into the microphone, in real time."""
        lag = time.monotonic() - self._mic_start - self._mic_samples / MIC_RATE
        if lag > 0.2:  # nothing was said for a while
            self._mic_start += lag
        for at in range(0, len(pcm_S), PACKET):
            part_S = np.pad(pcm_S[at : at + PACKET], (0, max(0, at + PACKET - len(pcm_S))))
            due = self._mic_start + (self._mic_samples + PACKET) / MIC_RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.conversation.hear(part_S)
            self._mic_samples += PACKET

    async def quiet(self, seconds: float) -> None:
        await self.say(np.zeros(round(seconds * MIC_RATE), np.int16))

    async def until(self, condition: Callable[[], object], seconds: float = 8.0, *, listening: bool = False) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s; {self.notes.__dict__}"
            await (self.quiet(0.04) if listening else asyncio.sleep(0.02))


@asynccontextmanager
async def scene(
    answer: Callable[[str], AsyncIterator[str]] = short_answer,
    *,
    ears: list[str] | None = None,
    voice: Voice | None = None,
    impatient: dict[str, float] | None = None,
    **overrides: Any,
) -> AsyncIterator[Scene]:
    settings: Settings = load(None, environ={}, overrides={"session.greeting": "", **overrides}).settings
    # Shorter than an operator may set, so that the test need not wait.
    settings = settings.model_copy(update={"session": settings.session.model_copy(update=impatient or {})})
    dialogue = ScriptedDialogue(answer)
    parts = Parts(
        voice=voice or FliteVoice("kal16"),
        stt=KnowingSTT(ears or [""]),
        vad=inference.VAD(min_silence_duration=0.25),
        turn_handling=TurnHandlingOptions(
            turn_detection=inference.TurnDetector(version="v1-mini"),
            endpointing={"min_delay": 0.3, "max_delay": 0.5},
            interruption={"mode": "vad", "min_duration": 0.25, "false_interruption_timeout": 0.6},
        ),
        dialogue=dialogue,
    )
    runner = AvatarRunner(DiscDecoder(), MotionStream(seed=1), ListSink())
    notes = Notes()
    conversation = Conversation(settings, parts, runner, notes)
    runner.start()
    await conversation.start()
    try:
        yield Scene(conversation, runner, notes, dialogue)
    finally:
        started = time.monotonic()
        await conversation.aclose()
        await runner.aclose()
        assert time.monotonic() - started < 3, "a conversation ends within seconds"


_question: NDArray[np.int16] | None = None


async def question() -> NDArray[np.int16]:
    """A spoken sentence, int16 at 16 kHz."""
    global _question
    if _question is None:
        spoken = await synthesize_all(FliteVoice("slt"), "When are you open on Sunday?")
        resampled_S = soxr.resample(spoken.pcm_S.astype(np.float32), STREAM_RATE, MIC_RATE)
        loud_S = np.flatnonzero(np.abs(resampled_S) > 300)
        _question = resampled_S[loud_S[0] : loud_S[-1]].astype(np.int16)
    return _question


async def test_a_spoken_question_is_answered_aloud_with_a_moving_mouth() -> None:
    async with scene(long_answer, ears=["When are you open?"]) as s:
        await s.quiet(0.5)
        await s.say(await question())
        await s.until(lambda: s.notes.turns, listening=True)
        (turn,) = s.notes.turns
        assert list(turn.marks_ms) == [m for m in MARKS if m in turn.marks_ms] and set(turn.marks_ms) == set(MARKS)
        assert turn.kind == "voice" and 300 < turn.total_ms < 3000
        assert turn.marks_ms["transcript"] < turn.marks_ms["first_audio"] <= turn.marks_ms["first_frame"]
        await s.quiet(2.0)
        s.conversation.stop()
        await s.quiet(0.8)
        assert ("v0", "When are you open?", True) in s.notes.transcripts
        assert [state for _, state in s.notes.states] == [
            State.LISTENING, State.THINKING, State.SPEAKING, State.LISTENING,
        ]  # fmt: skip
        first = s.notes.captions[0]
        assert first[1] == "Here is a long answer that goes on for a while."
        assert first[3] == s.sink.frames[s.spoken[0]].sample
        talking = [disc_area(image) for frame, image in s.sink.pictures if frame.speech]
        after = [disc_area(image) for frame, image in s.sink.pictures if frame.index > s.spoken[-1] + 5]
        assert max(talking) > 1.5 * max(after)


async def test_phones_and_words_reach_the_avatar_untouched() -> None:
    """LiveKit passes the frames of tts_node on as they are: nothing re-slices or resamples them."""
    async with scene() as s:
        pushed: list[tuple[int, Any, str]] = []
        push = s.runner.push
        s.runner.push = lambda pcm, phones=None, text="", changes=(): (  # type: ignore[method-assign]
            pushed.append((len(pcm), phones, text)), push(pcm, phones, text, changes),
        )[1]  # fmt: skip
        await s.conversation.type("Hi")
        await s.until(lambda: pushed)
        expected = await synthesize_all(FliteVoice("kal16"), "Yes, of course.")
        assert pushed == [(len(expected.pcm_S), expected.phones, "Yes, of course.")]


async def test_the_first_clause_is_spoken_while_the_rest_is_still_being_written() -> None:
    release = asyncio.Event()

    async def slow_writer(question: str) -> AsyncIterator[str]:
        yield "This comes at once. "
        yield "And "
        await release.wait()
        yield "this comes later."

    async with scene(slow_writer) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: s.spoken)
        assert not release.is_set()
        release.set()
        await s.until(lambda: s.notes.captions and s.notes.captions[-1][2])
        assert s.notes.captions[-1][1] == "This comes at once. And this comes later."


async def test_barge_in_cuts_within_200_ms_and_the_next_reply_starts_cleanly() -> None:
    async with scene(long_answer, ears=["wait", "another question"]) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: s.spoken)
        await s.quiet(1.0)
        spoken_S = await question()
        began = len(s.sink.frames)
        await s.say(spoken_S)
        decided = next(t for t, state in s.notes.states if state is State.LISTENING and t > s.notes.states[-2][0])
        last = max(index for index in s.spoken if index < began + 3 * FPS)
        cut_at = s.sink.times[last]
        assert cut_at - decided < 0.2, "the sound stops within 200 ms of the decision"
        open_after = [
            disc_area(image) for frame, image in s.sink.pictures if last + 5 <= frame.index < s.spoken[-1] + 8
        ]
        await s.until(lambda: len(s.notes.turns) == 2, listening=True)
        assert s.sink.clears, "what the page has queued is cleared"
        second = s.spoken[-1]
        rest = min(disc_area(image) for _, image in s.sink.pictures)
        assert all(area < 2.0 * rest for area in open_after[:2])
        assert s.sink.frames[second].epoch == s.runner.epoch
        heard = next(text for role, text in s.conversation.history if role == "assistant")
        assert heard and LONG.startswith(heard.split(".")[0]) and len(heard) < len(LONG) / 2
        assert s.notes.captions[-1][0] != s.notes.captions[0][0]


async def test_a_cough_pauses_and_the_speech_goes_on_where_it_was() -> None:
    async with scene(long_answer, ears=[""]) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: s.spoken)
        await s.quiet(0.6)
        await s.say((await question())[: round(0.6 * MIC_RATE)])
        await s.until(lambda: s.notes.states[-1][1] is State.SPEAKING and len(s.notes.states) > 3, listening=True)
        await s.quiet(0.5)
        indices = np.array(s.spoken)
        gaps = np.flatnonzero(np.diff(indices) > 1)
        assert len(gaps) == 1 and np.diff(indices)[gaps[0]] > 10, "one pause"
        whole = await synthesize_all(FliteVoice("kal16"), LONG)
        heard_S = np.concatenate([frame.pcm for frame in s.sink.frames if frame.speech])
        np.testing.assert_array_equal(heard_S, whole.pcm_S[: len(heard_S)], "not a sample lost or doubled")
        assert not s.sink.clears


async def test_ten_interruptions_in_a_row_leave_it_working() -> None:
    async with scene(long_answer) as s:
        for number in range(10):
            await s.conversation.type(f"question {number}")
            if number % 3:
                await asyncio.sleep(0.05 * number)
        await s.conversation.type("the last one")
        await s.until(lambda: s.spoken and s.sink.frames[s.spoken[-1]].epoch == s.runner.epoch)
        before = len(s.notes.turns)
        s.conversation.stop()
        s.dialogue._answer = short_answer
        await s.conversation.type("really the last")
        await s.until(lambda: len(s.notes.turns) > before)
        await s.until(lambda: s.notes.states[-1][1] is State.LISTENING)
        assert s.notes.captions[-1][1:3] == ("Yes, of course.", True)
        assert s.notes.turns[-1].total_ms < 1000, "no stall after the interruptions"
        assert [m.text for m in s.dialogue.asked[-1] if m.role == "user"][-1] == "really the last"


async def test_typed_text_interrupts_what_is_being_said() -> None:
    async with scene(long_answer) as s:
        await s.conversation.type("first")
        await s.until(lambda: s.spoken)
        await asyncio.sleep(0.5)
        typed = len(s.sink.frames)
        await s.conversation.type("second")
        assert not [i for i in s.spoken if typed + 1 < i <= typed + 3]
        await s.until(lambda: len(s.notes.turns) == 2)
        assert s.notes.turns[1].kind == "text"
        assert [text for role, text in s.conversation.history if role == "user"] == ["first", "second"]
        assert not s.notes.transcripts, "whoever typed it has seen it"


async def test_stop_means_quiet_and_the_dialogue_is_cancelled() -> None:
    async def endless(question: str) -> AsyncIterator[str]:
        while True:
            yield "More and more words come. "
            await asyncio.sleep(0.3)

    async with scene(endless) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: s.spoken)
        s.conversation.stop()
        await s.until(lambda: s.notes.states[-1][1] is State.LISTENING, 2)
        stopped = len(s.sink.frames)
        await s.until(lambda: s.dialogue.stopped, 2)
        await asyncio.sleep(0.5)
        assert max(s.spoken) <= stopped


async def raising(question: str) -> AsyncIterator[str]:
    raise DialogueError("The backend is down.", hint="Start it.")
    yield ""


async def breaking(question: str) -> AsyncIterator[str]:
    yield "Half an ans"
    raise ZeroDivisionError


async def silent(question: str) -> AsyncIterator[str]:
    await asyncio.sleep(60)
    yield "too late"


async def garbage(question: str) -> AsyncIterator[str]:
    yield 42  # type: ignore[misc]


async def empty(question: str) -> AsyncIterator[str]:
    for _ in range(3):
        yield ""


@pytest.mark.parametrize("answer", [raising, breaking, silent, garbage, empty])
async def test_a_broken_dialogue_is_apologised_for_and_the_session_goes_on(
    answer: Callable[[str], AsyncIterator[str]],
) -> None:
    async with scene(
        answer, **{"dialogue.first_token_timeout_s": 0.4, "dialogue.fallback_text": "Sorry about that."}
    ) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: s.notes.captions and s.notes.captions[-1][2])
        assert s.notes.captions[-1][1].endswith("Sorry about that.")
        assert s.notes.problems == ["dialogue"]
        assert s.notes.problem_texts == [f"{DIALOGUE_PROBLEM} {DIALOGUE_HINT}"], "the operator's words stay in the log"
        s.dialogue._answer = short_answer
        await s.conversation.type("And now?")
        await s.until(lambda: s.notes.captions[-1][1:3] == ("Yes, of course.", True))
        assert not s.notes.ends


async def test_a_reply_without_a_speakable_word_does_not_leave_it_thinking() -> None:
    async def shrug(question: str) -> AsyncIterator[str]:
        yield "... !!"

    async with scene(shrug) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: len(s.notes.states) > 2 and s.notes.states[-1][1] is State.LISTENING)


class FailingVoice(FliteVoice):
    fails = True

    async def _say(self, text: str) -> Utterance:
        if self.fails:
            raise SpeechError("engine_failed", "The synthesiser has stopped.", "Restart it.")
        return await super()._say(text)


async def test_a_broken_voice_shows_the_words_and_the_session_goes_on() -> None:
    voice = FailingVoice("kal16")
    async with scene(long_answer, voice=voice) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: s.notes.captions)
        assert s.notes.captions[0][1] == LONG
        assert s.notes.problems == ["voice"]
        voice.fails = False
        s.dialogue._answer = short_answer
        await s.conversation.type("Again?")
        await s.until(lambda: s.notes.captions[-1][1:3] == ("Yes, of course.", True))


async def test_greeting_history_and_identity() -> None:
    async with scene(**{"session.greeting": "Welcome!"}) as s:
        await s.until(lambda: s.notes.captions and s.notes.captions[-1][2])
        assert s.notes.captions[-1][1] == "Welcome!" and not s.notes.turns, "a greeting answers nobody"
        await s.conversation.type("one")
        await s.until(lambda: len(s.notes.turns) == 1)
        await s.conversation.type("two")
        await s.until(lambda: len(s.dialogue.asked) == 2)
        assert [m.role for m in s.dialogue.asked[1]][:2] == ["assistant", "user"]
        assert s.dialogue.asked[1][0].text == "Welcome!" and s.dialogue.asked[1][-1].text == "two"
        assert len(set(s.dialogue.sessions)) == 1


async def test_quiet_ends_it_and_so_does_the_time_limit() -> None:
    async with scene(impatient={"idle_reset_s": 0.5}) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: s.spoken)
        assert not s.notes.ends, "not while it speaks"
        await s.until(lambda: s.notes.ends)
        assert s.notes.ends == ["idle"]
    async with scene(long_answer, impatient={"max_session_s": 1.0}) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: s.notes.ends)
        assert s.notes.ends == ["time"]


async def test_nothing_leaves_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole turn without one connection or name look-up: no telemetry, no cloud turn detection."""
    reached: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        reached.append(address)
        raise OSError("not today")

    def look_up(host: Any, *rest: Any, **more: Any) -> list[Any]:
        reached.append(host)
        raise OSError("not today")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for name in ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_URL"):
        monkeypatch.setenv(name, "set")
    async with scene(ears=["hello"]) as s:
        await s.quiet(0.5)
        await s.say(await question())
        await s.until(lambda: s.notes.turns, listening=True)
    assert reached == []
