"""One conversation: LiveKit's AgentSession between the visitor's microphone and the avatar, for every transport.

The session needs no room and reaches nothing outside this machine: voice activity, end of turn, recogniser, dialogue
and voice are what `Parts` holds. A transport gives a `Listener` and a running `AvatarRunner`, pushes microphone sound
and typed text in, and is told what happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from livekit import rtc
from livekit.agents import (
    Agent,
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    ConversationItemAddedEvent,
    ModelSettings,
    TurnHandlingOptions,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
    stt,
    vad,
)
from livekit.agents.voice.events import CloseReason

from agent.latency import LatencyLog, Turn
from agent.microphone import Microphone, WatchedVAD, end_of_speech
from agent.output import AvatarOutput
from agent.playout import Cue, Finished
from agent.reply import DialogueLLM
from agent.runner import AvatarRunner
from agent.speech.errors import SpeechError
from agent.speech.tts import TEXT_KEY, VisavisTTS, speak
from agent.speech.voice import Voice
from agent.tags import strip_tags, without_tags
from avatar.clock import STREAM_RATE
from avatar.motion.idle import State
from config import Settings
from dialogue.protocol import Dialogue, DialogueError

logger = logging.getLogger("visavis.session")

EndReason = Literal["idle", "time", "error", "closed"]
CLOSE_TIMEOUT_S = 5.0
DIALOGUE_PROBLEM = "The avatar could not find an answer."
DIALOGUE_HINT = "Please ask again in a moment."
VOICE_PROBLEM = "The avatar has lost its voice; its words are shown."


@dataclass(slots=True)
class Parts:
    """What a conversation is made of; may serve one conversation after another."""

    voice: Voice
    stt: stt.STT[Any]
    vad: vad.VAD
    turn_handling: TurnHandlingOptions
    dialogue: Dialogue


class Listener(Protocol):
    """Told what happens, on the event loop; nothing here may block."""

    def state(self, state: State) -> None:
        """What the avatar is doing now."""

    def transcript(self, segment: str, text: str, final: bool) -> None:
        """What the visitor says (not types): the whole text of the turn so far."""

    def caption(self, segment: str, text: str, final: bool, start_sample: int | None) -> None:
        """What the avatar says: the whole text of the reply so far. `start_sample` comes with its first words."""

    def latency(self, turn: Turn) -> None:
        """A turn has been answered."""

    def problem(self, code: str, message: str, hint: str) -> None:
        """Something went wrong and the conversation goes on."""

    def ended(self, reason: EndReason) -> None:
        """The conversation is over; call `aclose`."""


class Conversation:
    """A visitor and the avatar. `start`, then `hear` and `type`; `aclose` at the end.

    What was said is kept in memory and only as long as this object: the next visitor gets another one.

    echo_warmup_s: how long, from the first sound, the visitor's voice is not taken for an interruption, while the
        browser's echo canceller learns the room; None where there is no echo.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        runner: AvatarRunner,
        listener: Listener,
        *,
        echo_warmup_s: float | None = None,
    ) -> None:
        self.microphone = Microphone()
        self.latency = LatencyLog(on_turn=listener.latency)
        self._settings = settings
        self._runner = runner
        self._listener = listener
        self._output = AvatarOutput(runner)
        self._ended = False
        self._typing = asyncio.Lock()
        self._typed: deque[str] = deque(maxlen=20)
        self._limit: asyncio.TimerHandle | None = None
        self._turns = 0
        self._heard_so_far = ""
        runner.events.started = self._on_sound
        runner.events.finished = self._on_finished
        runner.events.cue = self._on_cue
        runner.events.failed = lambda error: self._end("error")
        self._llm = DialogueLLM(
            parts.dialogue,
            settings.dialogue,
            session_id=secrets.token_hex(8),
            on_text=lambda: self.latency.mark("first_text"),
            on_failure=self._on_dialogue_failure,
        )
        self._agent = _Speaker(parts.voice, runner, self.latency, listener)
        self._session: AgentSession[None] = AgentSession(
            stt=parts.stt,
            vad=WatchedVAD(parts.vad, self._on_vad),
            llm=self._llm,
            tts=VisavisTTS(parts.voice),
            # The voice is ours and costs nothing to try: speech is ready when the turn is over.
            turn_handling={**parts.turn_handling, "preemptive_generation": {"enabled": True, "preemptive_tts": True}},
            tts_text_transforms=None,  # the voice cleans what it is given
            user_away_timeout=settings.session.idle_reset_s,
            aec_warmup_duration=echo_warmup_s,
            session_close_transcript_timeout=0.1,  # whoever leaves does not wait to be understood
        )
        self._session.input.audio = self.microphone
        self._session.output.audio = self._output
        self._session.on("agent_state_changed", self._on_agent_state)
        self._session.on("user_state_changed", self._on_user_state)
        self._session.on("user_input_transcribed", self._on_transcribed)
        self._session.on("conversation_item_added", self._on_item)
        self._session.on("close", self._on_close)

    @property
    def history(self) -> list[tuple[str, str]]:
        """(role, text) of what was said so far, by visitor and avatar."""
        messages = self._session.history.messages()
        return [(m.role, m.text_content or "") for m in messages if m.role in ("user", "assistant")]

    async def start(self, *, greet: bool = True) -> None:
        """Begin to listen; says the greeting."""
        # record=False: nothing is kept and nothing is exported.
        await self._session.start(self._agent, record=False)
        loop = asyncio.get_running_loop()
        self._limit = loop.call_later(self._settings.session.max_session_s, self._end, "time")
        if greet and self._settings.session.greeting.strip():
            self._session.say(self._settings.session.greeting)

    def hear(self, pcm_S: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
        """The visitor's microphone, int16 mono at 16 kHz. Raises MicrophoneFull."""
        self.microphone.push(pcm_S)
        self._runner.hear(pcm_S)

    def close_turn(self) -> None:
        """The visitor has muted the microphone: what was being said is complete."""
        self.microphone.close_turn()

    async def type(self, text: str) -> None:
        """The visitor sends text: the same as saying it, and at once, so it interrupts."""
        async with self._typing:
            if self._ended:
                return
            self.latency.typed()
            self._typed.append(text)
            await self._session.interrupt(force=True)
            self._session.generate_reply(user_input=text)

    def stop(self) -> None:
        """The visitor wants quiet."""
        if not self._ended:
            self.latency.forget()
            with contextlib.suppress(RuntimeError):  # not begun, or closing
                self._session.interrupt(force=True)

    async def aclose(self) -> None:
        """End everything, within CLOSE_TIMEOUT_S; safe to call twice."""
        self._ended = True
        if self._limit is not None:
            self._limit.cancel()
        self.microphone.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._session.aclose()

    def _end(self, reason: EndReason) -> None:
        if not self._ended:
            self._ended = True
            self._listener.ended(reason)

    # From the runner

    def _on_sound(self, segment: int) -> None:
        self.latency.mark("first_frame")
        self._output.started()

    def _on_cue(self, cue: Cue) -> None:
        self._listener.caption(f"a{cue.segment}", cue.text, False, cue.start_sample if cue.first else None)

    def _on_finished(self, finished: Finished) -> None:
        if finished.played:
            self._listener.caption(f"a{finished.segment}", finished.heard, True, None)
        self._output.finished(finished)

    # From the session

    def _on_vad(self, event: vad.VADEvent) -> None:
        sample = end_of_speech(event)
        if sample is not None:
            self.latency.speech_ended(self.microphone.time_of(sample))

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        state = State(event.new_state) if event.new_state in set(State) else State.IDLE
        self._runner.set_state(state)
        self._listener.state(state)

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "away":
            self._end("idle")

    def _on_transcribed(self, event: UserInputTranscribedEvent) -> None:
        text = event.transcript.strip()
        if not text:
            return
        so_far = f"{self._heard_so_far} {text}".strip()
        if event.is_final:
            self.latency.mark("transcript")
            self._heard_so_far = so_far
        self._listener.transcript(f"v{self._turns}", so_far, False)

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, llm.ChatMessage) and event.item.role == "user":
            self.latency.mark("turn_end")
            text = event.item.text_content or ""
            if text in self._typed:
                self._typed.remove(text)  # whoever typed it has seen it
            else:
                self._listener.transcript(f"v{self._turns}", text, True)
            self._turns += 1
            self._heard_so_far = ""

    def _on_close(self, event: CloseEvent) -> None:
        self._end("error" if event.reason == CloseReason.ERROR else "closed")

    def _on_dialogue_failure(self, error: DialogueError) -> None:
        # The error's words are the operator's and have been logged; they may hold addresses and a backend's own text.
        self._listener.problem("dialogue", DIALOGUE_PROBLEM, DIALOGUE_HINT)


class _Speaker(Agent):
    """Speaks clause by clause, with the phone times in the frames."""

    def __init__(self, voice: Voice, runner: AvatarRunner, latency: LatencyLog, listener: Listener) -> None:
        super().__init__(instructions="")
        self._voice = voice
        self._runner = runner
        self._latency = latency
        self._listener = listener

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: ModelSettings
    ) -> AsyncGenerator[rtc.AudioFrame, None]:
        words = _Words(text)
        try:
            async with aclosing(speak(self._voice, words)) as frames:
                async for frame in frames:
                    self._latency.mark("first_audio")
                    # LiveKit takes all that a node gives, so the pace is kept here.
                    await self._runner.room()
                    yield frame
        except SpeechError as error:
            logger.warning("voice: %s", error)
            self._listener.problem("voice", VOICE_PROBLEM, "")
            async for _ in words:
                pass
            # A second of silence carries the words to the captions.
            yield _silence(strip_tags(words.text), STREAM_RATE)

    def transcription_node(self, text: AsyncIterable[str], model_settings: ModelSettings) -> AsyncGenerator[str, None]:
        """What goes into the history: the words without their tags."""
        return without_tags(text)


class _Words:
    """Text on its way to the voice, kept so that it can be shown when the voice fails."""

    def __init__(self, source: AsyncIterable[str]) -> None:
        self._source = aiter(source)
        self.text = ""

    def __aiter__(self) -> _Words:
        return self

    async def __anext__(self) -> str:
        piece = await anext(self._source)
        self.text += piece
        return piece


def _silence(text: str, samples: int) -> rtc.AudioFrame:
    frame = rtc.AudioFrame(
        data=bytes(2 * samples), sample_rate=STREAM_RATE, num_channels=1, samples_per_channel=samples
    )
    frame.userdata[TEXT_KEY] = " ".join(text.split())
    return frame
