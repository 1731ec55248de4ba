"""What is chosen, why, and what a person is told to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from livekit.agents import inference

from agent.speech import coqui, stt_whisper
from agent.speech.errors import SpeechError
from agent.speech.flite import flite_path
from agent.speech.select import choose_stt, choose_voice, report
from agent.speech.turns import make_vad, turn_handling
from config.settings import SpeechSettings

needs_flite = pytest.mark.skipif(flite_path() is None, reason="flite is not installed (apt install flite)")


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stt_whisper, "usual_model", lambda: None)
    monkeypatch.setenv("TTS_HOME", str(tmp_path))


@needs_flite
async def test_the_embedded_default() -> None:
    hears, speaks = report(SpeechSettings())
    assert (hears.component, hears.choice, hears.usable) == ("speech in", "pocketsphinx", True)
    assert "VISAVIS_SPEECH__STT_MODEL" in hears.todo
    assert (speaks.component, speaks.choice, speaks.usable) == ("speech out", "flite/slt", True)
    recogniser = choose_stt(SpeechSettings(), ["where is the lift"])
    assert recogniser.capabilities.streaming
    await recogniser.aclose()
    assert choose_voice(SpeechSettings()).name == "flite/slt"


def test_without_flite_espeak_speaks_and_says_what_would_be_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    speaks = report(SpeechSettings())[1]
    assert speaks.choice == "espeak/en-us"
    assert "apt install flite" in speaks.todo
    assert choose_voice(SpeechSettings()).name == "espeak/en-us"
    with pytest.raises(SpeechError, match="apt install flite"):
        choose_voice(SpeechSettings(tts="flite"))


def test_a_voice_that_flite_has_not_is_looked_for_in_espeak() -> None:
    assert report(SpeechSettings(voice="en-us+f3"))[1].choice == "espeak/en-us+f3"


@needs_flite
def test_an_unknown_flite_voice() -> None:
    with pytest.raises(SpeechError, match="slt, rms, awb, kal16"):
        choose_voice(SpeechSettings(tts="flite", voice="bob"))


def test_whisper_asked_for_and_missing_says_what_to_do(tmp_path: Path) -> None:
    for model in (None, "large-v1", str(tmp_path), str(tmp_path / "nowhere"), "no such name!"):
        settings = SpeechSettings(stt="faster-whisper", stt_model=model)
        choice = report(settings)[0]
        assert not choice.usable
        assert choice.todo
        with pytest.raises(SpeechError) as caught:
            choose_stt(settings, [])
        assert caught.value.hint == choice.todo


async def test_a_missing_whisper_model_leaves_the_embedded_recogniser() -> None:
    settings = SpeechSettings(stt_model="large-v1")
    assert "not on this machine" in report(settings)[0].why
    recogniser = choose_stt(settings, [])
    assert recogniser.provider == "pocketsphinx"
    await recogniser.aclose()


def test_coqui_asked_for_and_missing_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpeechError, match="VISAVIS_SPEECH__TTS_MODEL"):
        choose_voice(SpeechSettings(tts="coqui"))
    monkeypatch.setattr(coqui, "installed", lambda: False)
    with pytest.raises(SpeechError, match="pip install"):
        choose_voice(SpeechSettings(tts="coqui", tts_model="tts_models/en/ljspeech/vits"))
    assert "Coqui TTS is not installed" in report(SpeechSettings(tts_model="x"))[1].why


def test_nothing_in_turn_taking_asks_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = SpeechSettings(end_of_turn_min_s=0.4, end_of_turn_max_s=0.2, barge_in=False, barge_in_min_s=0.3)
    handling = turn_handling(settings)
    detector = handling["turn_detection"]
    assert isinstance(detector, inference.TurnDetector)
    assert detector.model == "turn-detector-v1-mini"
    assert handling["interruption"]["mode"] == "vad"
    assert handling["interruption"]["enabled"] is False
    assert handling["endpointing"]["min_delay"] == 0.4
    assert handling["endpointing"]["max_delay"] == 0.4
    assert isinstance(make_vad(settings), inference.VAD)
