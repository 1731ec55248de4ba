"""Builds what a conversation is made of, from the settings."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from livekit import rtc
from livekit.agents import TurnHandlingOptions, inference

from agent.clock import Clock
from agent.runner import AvatarRunner, Sink
from agent.session import Parts
from agent.speech.select import choose_stt, choose_voice
from agent.speech.turns import make_vad, turn_handling
from avatar.clock import MIC_RATE
from avatar.decoders import open_decoder
from avatar.motion.asked_text import asked_of
from avatar.motion.open import close_motion, open_motion
from avatar.stream import FrameDecoder
from config import Settings
from dialogue.knowledge import Knowledge
from dialogue.protocol import Dialogue
from dialogue.registry import create

logger = logging.getLogger("visavis.parts")

WARM_UP_TEXT = "Hello."
WARM_UP_S = 10.0


@runtime_checkable
class Warmable(Protocol):
    """A recogniser that would load its model with the visitor's first words."""

    async def warm(self) -> None:
        """Load it now."""


async def build_parts(settings: Settings) -> Parts:
    """Recogniser, voice, turn detection and dialogue, ready to use. Raises what explains itself to the operator."""
    await asyncio.to_thread(
        _warm_motion, settings
    )  # the first visitor finds its networks read, or the operator an error
    dialogue = create(settings.dialogue)
    await dialogue.open()
    voice = choose_voice(settings.speech)
    async for _ in voice.synthesize(WARM_UP_TEXT):
        pass
    recogniser = choose_stt(settings.speech, await _vocabulary(settings, dialogue), language=settings.session.language)
    if isinstance(recogniser, Warmable):
        await recogniser.warm()
    turns = turn_handling(settings.speech)
    await _warm_turn_detector(turns)
    return Parts(
        voice=voice, stt=recogniser, vad=make_vad(settings.speech), turn_handling=turns, dialogue=dialogue
    )  # fmt: skip


def _warm_motion(settings: Settings) -> None:
    motion = open_motion(settings.avatar)
    try:
        motion.next_motion()
    finally:
        close_motion(motion)


async def _vocabulary(settings: Settings, dialogue: Dialogue) -> Sequence[str]:
    """What the recogniser should hear: the dialogue's own sentences, else those of the knowledge folder."""
    sentences = dialogue.vocabulary()
    if sentences or settings.dialogue.knowledge_dir is None:
        return sentences
    knowledge = Knowledge(settings.dialogue)
    await knowledge.open()
    return knowledge.vocabulary()


async def _warm_turn_detector(turns: TurnHandlingOptions) -> None:
    """Load the end-of-turn model, which would else stop the sound for a second when the conversation begins."""
    detector = turns.get("turn_detection")
    if not isinstance(detector, inference.TurnDetector):
        return
    stream = detector.stream()
    try:
        stream.push_audio(
            rtc.AudioFrame(bytes(2 * MIC_RATE), sample_rate=MIC_RATE, num_channels=1, samples_per_channel=MIC_RATE)
        )
        async with asyncio.timeout(WARM_UP_S):
            await stream.predict()
    except TimeoutError:
        logger.warning("the end-of-turn model is slow on this machine")
    finally:
        await stream.aclose()


async def close_parts(parts: Parts) -> None:
    """Release everything."""
    await parts.voice.aclose()
    await parts.stt.aclose()
    await parts.dialogue.aclose()


def build_runner(
    settings: Settings, *, decoder: FrameDecoder | None = None, sink: Sink | None = None, clock: Clock | None = None
) -> AvatarRunner:
    """A runner of the settings' avatar, not yet started; loads the decoder unless one is given."""
    decoder = decoder or open_decoder(settings.avatar)  # first: when it fails, no motion is left open
    runner = AvatarRunner(decoder, open_motion(settings.avatar), sink, clock=clock)
    runner.set_controls(asked_of(settings.avatar))
    return runner


def settle_memory() -> None:
    """Call when everything is loaded: takes it out of Python's garbage collection.

    A full collection over the loaded libraries stops every thread for some 200 ms, which can be heard.
    """
    gc.collect()
    gc.freeze()
