"""How well the embedded recogniser hears questions of the sample profiles from synthetic speakers.

    python scripts/measure_recogniser.py [--voices slt,rms] [--snr DB]

For each profile: word error rate, share of questions whose answer is the one that the true text gets, milliseconds from
the end of speech to the words, and how many sentences from elsewhere are answered. docs/speech.md holds the results.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from agent.speech.flite import VOICES, FliteVoice
from agent.speech.stt_pocketsphinx import Decoder, PocketsphinxSTT
from agent.speech.turns import make_vad
from agent.speech.voice import synthesize_all
from avatar.clock import MIC_RATE, STREAM_RATE
from config.settings import DialogueSettings, SpeechSettings
from dialogue.knowledge import Knowledge
from dialogue.protocol import Message

SAMPLES = Path(__file__).resolve().parents[1] / "dialogue" / "samples"

# Worded from the headings of the knowledge, before any was heard.
QUESTIONS = {
    "customer-service": """when does my parcel arrive
        i was not at home yesterday when the driver came
        can you deliver to another address
        what is the price for sending a parcel
        i want to send something back
        my package arrived broken
        am i allowed to send batteries
        can i speak to somebody
        where is my package right now
        what does in transit mean
        my parcel should have been here last week
        is it possible to change the delivery day
        how do i track my parcel
        how much does a small parcel cost
        who do i talk to about a damaged parcel""",
    "tutor": """what is sound exactly
        does the air move to my ear
        can you hear anything in space
        what does frequency mean
        why are some sounds higher than others
        why are some sounds louder than others
        which sounds can people hear
        what is the speed of sound
        why is the thunder later than the lightning
        how does an echo work
        give me another exercise please
        what is the answer
        what is a wave
        how fast does sound travel in water
        what comes after this""",
}
ELSEWHERE = """who won the football game last night
    what is the capital of australia
    please book a flight to new york for next week
    my grandmother bakes the best apple pie in the village
    the stock market fell sharply after the announcement
    can you write a poem about the sea
    how do i cook spaghetti with tomato sauce
    he was arrested for stealing a bicycle
    i think the president should resign immediately
    what is the meaning of life"""


async def main() -> None:
    """Measure and print one line for each profile and one for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", default=",".join(VOICES))
    parser.add_argument("--snr", type=float, default=None, help="white noise, in dB below the speech")
    options = parser.parse_args()
    for profile, questions in QUESTIONS.items():
        knowledge = Knowledge(DialogueSettings(knowledge_dir=SAMPLES / profile))
        await knowledge.open()
        recogniser = PocketsphinxSTT(knowledge.vocabulary(), make_vad(SpeechSettings()))
        errors = words = same = asked = answered = strangers = 0
        took_ms: list[float] = []
        async with aclosing(await recogniser.decoder()) as decoder:
            for name in options.voices.split(","):
                for line in questions.splitlines():
                    said = line.strip()
                    heard, milliseconds = await hear(decoder, await speak(said, name, options.snr))
                    errors += word_errors(said, heard)
                    words += len(said.split())
                    same += answer(knowledge, said) == answer(knowledge, heard)
                    asked += 1
                    took_ms.append(milliseconds)
                for line in ELSEWHERE.splitlines():
                    heard, _ = await hear(decoder, await speak(line.strip(), name, options.snr))
                    reply = answer(knowledge, heard)
                    answered += not ("do not know" in reply or "did not catch" in reply)
                    strangers += 1
        await recogniser.aclose()
        print(
            f"{profile}: word error rate {errors / words:.3f}, same answer {same}/{asked}, words after the end of"
            f" speech {np.median(took_ms):.0f} ms (95 %: {np.quantile(took_ms, 0.95):.0f} ms), from elsewhere answered"
            f" {answered}/{strangers}"
        )


def answer(knowledge: Knowledge, text: str) -> str:
    """What a new visitor who says this is told."""
    return knowledge.answer([Message("user", text)])


async def speak(text: str, voice: str, snr: float | None) -> bytes:
    """The sentence between short silences, 16-bit at MIC_RATE."""
    chunk = await synthesize_all(FliteVoice(voice), text)
    speech_S = np.asarray(soxr.resample(chunk.pcm_S, STREAM_RATE, MIC_RATE), np.float64)
    pcm_S: NDArray[np.float64] = np.concatenate([np.zeros(4800), speech_S, np.zeros(4000)])
    if snr is not None:
        loudness = float(np.sqrt(np.mean(speech_S[np.abs(speech_S) > 300] ** 2)))
        pcm_S += np.random.default_rng(0).normal(0, loudness * 10 ** (-snr / 20), len(pcm_S))
    samples: bytes = np.clip(pcm_S, -32768, 32767).astype(np.int16).tobytes()
    return samples


async def hear(decoder: Decoder, pcm: bytes) -> tuple[str, float]:
    """The words (empty when refused), and the milliseconds from the last sound to them."""
    await decoder.start()
    await decoder.feed(pcm)
    await decoder.partial()  # everything so far is decoded, as it is when somebody speaks in real time
    started = time.perf_counter()
    words = await decoder.finish()
    milliseconds = 1000 * (time.perf_counter() - started)
    return (" ".join(word for word, _, _ in words) if decoder.accepts(words) else ""), milliseconds


def word_errors(said: str, heard: str) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard.split()) + 1))
    for i, a in enumerate(said.split(), 1):
        corner, row[0] = row[0], i
        for j, b in enumerate(heard.split(), 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (a != b))
    return row[-1]


if __name__ == "__main__":
    asyncio.run(main())
