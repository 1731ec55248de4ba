"""The whole product without a browser: spoken questions from files, a recorded face that answers."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from livekit.agents import TurnHandlingOptions, inference
from numpy.typing import NDArray

from agent import converse as converse_module
from agent.converse import converse, microphone_sound
from agent.errors import Unavailable
from agent.session import Parts
from agent.speech.flite import FliteVoice
from agent.speech.voice import synthesize_all
from avatar.clock import MIC_RATE, STREAM_RATE
from avatar.errors import AudioError
from config import ConfigError, Settings, load
from tests.agent_stand_ins import DiscDecoder, KnowingSTT, ScriptedDialogue
from tests.test_agent_session import LONG


def write_wav(path: Path, pcm_S: NDArray[np.int16], rate: int = STREAM_RATE) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm_S.tobytes())
    return path


async def spoken(path: Path, text: str) -> Path:
    return write_wav(path, (await synthesize_all(FliteVoice("rms"), text)).pcm_S)


def kiosk(**overrides: Any) -> Settings:
    return load("kiosk", environ={}, overrides=overrides).settings


async def test_the_embedded_default_hears_and_answers_a_question_of_its_subject(tmp_path: Path) -> None:
    """flite asks, pocketsphinx hears, the knowledge folder answers, flite speaks, the default presenter's lips move."""
    questions = [
        await spoken(tmp_path / "sunday.wav", "When are you open on Sunday?"),
        await spoken(tmp_path / "ticket.wav", "How much is a ticket?"),
    ]
    out = tmp_path / "reply.mp4"
    report = await converse(kiosk(), questions, out, barge_in_s=2.0)
    first, second = report["turns"]
    assert first["transcript"].lower().rstrip("?") == "when are you open on sunday"
    assert first["reply"].startswith("On Sundays we are open from nine")
    assert first["answered"] and first["mouth_moved"] and first["interrupted"]
    assert "six in the evening. That is from" not in first["reply"], "it was cut short"
    assert "ticket" in second["transcript"].lower()
    assert "twelve euros" in second["reply"] and second["mouth_moved"] and not second["interrupted"]
    assert 0 < first["marks_ms"]["transcript"] < first["marks_ms"]["first_frame"] < 4000
    assert report["av_offset_ms_max"] < 1000 and report["problems"] == 0
    with av.open(str(out)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height) == (512, 512)
        seconds = container.duration / av.time_base
        assert seconds == pytest.approx(report["seconds"], abs=0.1)
        loud = [frame.time for frame in container.decode(audio) if np.abs(frame.to_ndarray()).max() > 0.05]
    assert len(loud) * 1024 / STREAM_RATE > 4, "the voice is in the file"


def known_parts(texts: list[str]) -> Parts:
    return Parts(
        voice=FliteVoice("kal16"),
        stt=KnowingSTT(texts),
        vad=inference.VAD(min_silence_duration=0.25),
        turn_handling=TurnHandlingOptions(
            turn_detection=inference.TurnDetector(version="v1-mini"),
            endpointing={"min_delay": 0.3, "max_delay": 0.5},
            interruption={"mode": "vad", "min_duration": 0.25, "false_interruption_timeout": 0.6},
        ),
        dialogue=ScriptedDialogue(long_then_short),
    )


async def long_then_short(question: str) -> AsyncIterator[str]:
    yield LONG if question == "one" else "Yes, of course."


async def test_barge_in_is_measured_from_the_voice(tmp_path: Path) -> None:
    question = await spoken(tmp_path / "q.wav", "When are you open on Sunday?")
    report = await converse(
        kiosk(**{"avatar.size": 256}), [question, question], tmp_path / "o.mp4", barge_in_s=1.0,
        parts=known_parts(["one", "two"]), decoder=DiscDecoder(256),
    )  # fmt: skip
    first, second = report["turns"]
    assert first["interrupted"] and 250 <= first["cut_ms"] <= 250 + 200 + 100, "0.25 s of voice, then at once"
    assert second["answered"] and second["transcript"] == "two"


async def test_silence_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converse_module, "ANSWER_TIMEOUT_S", 1.0)
    silent = write_wav(tmp_path / "silent.wav", np.zeros(STREAM_RATE, np.int16))
    report = await converse(
        kiosk(**{"avatar.size": 256}), [silent], tmp_path / "o.mp4",
        parts=known_parts(["nothing"]), decoder=DiscDecoder(256),
    )  # fmt: skip
    (turn,) = report["turns"]
    assert not turn["answered"] and turn["reply"] == "" and turn["transcript"] == "" and not turn["mouth_moved"]


async def test_what_cannot_be_heard_or_written_is_refused_at_once(tmp_path: Path) -> None:
    text = tmp_path / "note.txt"
    text.write_text("not a sound at all, but rather long for a text file")
    good = write_wav(tmp_path / "good.wav", np.zeros(STREAM_RATE, np.int16))
    with pytest.raises(AudioError, match="not a sound file"):
        await converse(kiosk(), [text], tmp_path / "o.mp4")
    with pytest.raises(AudioError, match="no file"):
        await converse(kiosk(), [tmp_path / "none.wav"], tmp_path / "o.mp4")
    with pytest.raises(ConfigError, match=r"\.mp4"):
        await converse(kiosk(), [good], tmp_path / "o.avi")
    with pytest.raises(Unavailable, match="cannot be written"):
        await converse(
            kiosk(), [good], tmp_path / "no" / "o.mp4", parts=known_parts([""]), decoder=DiscDecoder(512)
        )  # fmt: skip


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2)])
def test_any_rate_and_channels_are_heard(tmp_path: Path, rate: int, channels: int) -> None:
    tone_S = (8000 * np.sin(np.arange(rate) * 2 * np.pi * 300 / rate)).astype(np.int16)
    with wave.open(str(tmp_path / "t.wav"), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.repeat(tone_S, channels).tobytes())
    pcm_S = microphone_sound(tmp_path / "t.wav")
    assert pcm_S.dtype == np.int16 and len(pcm_S) == pytest.approx(MIC_RATE, abs=50)
    spectrum = np.abs(np.fft.rfft(pcm_S[2000:14000]))
    assert np.argmax(spectrum) * MIC_RATE / 12000 == pytest.approx(300, abs=2)


def test_a_whole_lecture_is_not_a_question(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="longer than"):
        microphone_sound(write_wav(tmp_path / "l.wav", np.ones(130 * 8000, np.int16), rate=8000))
