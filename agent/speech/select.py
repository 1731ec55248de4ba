"""Which recogniser and which voice are used: by the settings and by what is installed, with the reasons."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from livekit.agents import stt

from agent.speech.errors import SpeechError
from agent.speech.turns import make_vad
from agent.speech.voice import Voice
from config.settings import SpeechSettings


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the report.

    component: `speech in` or `speech out`. choice: engine and model. why: what decided.
    todo: what would make it better, or work at all; may be empty. usable: whether it can work.
    """

    component: str
    choice: str
    why: str
    todo: str = ""
    usable: bool = True


def report(settings: SpeechSettings) -> list[Choice]:
    """What `choose_stt` and `choose_voice` would take, and why; loads no model."""
    return [recogniser_choice(settings), voice_choice(settings)]


def choose_stt(settings: SpeechSettings, vocabulary: Sequence[str], *, language: str | None = "en") -> stt.STT[Any]:
    """The recogniser. Raises SpeechError saying what to do.

    vocabulary: `Dialogue.vocabulary()`. language: what visitors speak; only faster-whisper knows more than English.
    """
    choice = recogniser_choice(settings)
    if not choice.usable:
        raise SpeechError("recogniser_missing", f"{choice.choice}: {choice.why}.", choice.todo)
    if choice.choice.startswith("faster-whisper"):
        from agent.speech.stt_whisper import FasterWhisperSTT

        return FasterWhisperSTT(choice.choice.partition("/")[2], language=language)
    from agent.speech.stt_pocketsphinx import PocketsphinxSTT

    return PocketsphinxSTT(vocabulary, make_vad(settings))


def choose_voice(settings: SpeechSettings) -> Voice:
    """The voice. Raises SpeechError saying what to do."""
    choice = voice_choice(settings)
    if not choice.usable:
        raise SpeechError("voice_missing", f"{choice.choice}: {choice.why}.", choice.todo)
    engine = choice.choice.partition("/")[0]
    if engine == "coqui":
        from agent.speech.coqui import CoquiVoice

        assert settings.tts_model is not None
        return CoquiVoice(settings.tts_model, speaker=settings.voice, rate=settings.rate)
    if engine == "flite":
        from agent.speech.flite import FliteVoice

        return FliteVoice(_voice_name(settings, "flite"), rate=settings.rate)
    from agent.speech.espeak import EspeakVoice

    return EspeakVoice(_voice_name(settings, "espeak"), rate=settings.rate)


def recogniser_choice(settings: SpeechSettings) -> Choice:
    """What hears."""
    component = "speech in"
    wanted = settings.stt
    todo = (
        "For free speech give faster-whisper a model: VISAVIS_SPEECH__STT_MODEL=/folder/of/a/ctranslate2/whisper"
        " (or a name such as base.en that is in the Hugging Face cache)."
    )
    if wanted == "pocketsphinx":
        return Choice(component, "pocketsphinx", "asked for by speech.stt")
    from agent.speech.stt_whisper import find_model, usual_model

    model = settings.stt_model or usual_model()
    if model is None:
        reason = "no Whisper model is set (speech.stt_model) or in the cache"
        if wanted == "faster-whisper":
            return Choice(component, "faster-whisper", reason, todo, usable=False)
        return Choice(component, "pocketsphinx", f"embedded; {reason}", todo)
    try:
        find_model(model)
    except SpeechError as error:
        if wanted == "faster-whisper":
            return Choice(component, "faster-whisper", error.message.rstrip("."), error.hint, usable=False)
        return Choice(component, "pocketsphinx", f"embedded; {error.message.rstrip('.')}", error.hint)
    return Choice(component, f"faster-whisper/{model}", "its model is here")


def voice_choice(settings: SpeechSettings) -> Choice:
    """What speaks."""
    component = "speech out"
    wanted = settings.tts
    note = ""
    if wanted == "coqui" or (wanted == "auto" and settings.tts_model is not None):
        from agent.speech.coqui import find_model, installed

        try:
            if settings.tts_model is None:
                raise SpeechError(
                    "model_missing", "No Coqui model is set (speech.tts_model).",
                    "Set VISAVIS_SPEECH__TTS_MODEL to a folder with model.pth and config.json, or to a cached name.",
                )  # fmt: skip
            if not installed():
                raise SpeechError(
                    "engine_missing", "Coqui TTS is not installed.", "pip install -c constraints.txt -e '.[coqui]'."
                )
            find_model(settings.tts_model)
            return Choice(component, f"coqui/{settings.tts_model}", "its model is here")
        except SpeechError as error:
            if wanted == "coqui":
                return Choice(component, "coqui", error.message.rstrip("."), error.hint, usable=False)
            note = f"; {error.message.rstrip('.')}"
    from agent.speech.flite import INSTALL_HINT, VOICES, flite_path

    if wanted in ("auto", "flite") and not (wanted == "auto" and settings.voice not in (None, *VOICES)):
        if flite_path() is not None:
            name = _voice_name(settings, "flite")
            if name not in VOICES:
                hint = f"Choose one of {', '.join(VOICES)}."
                return Choice(component, f"flite/{name}", "flite has no such voice", hint, usable=False)
            return Choice(component, f"flite/{name}", ("asked for" if wanted == "flite" else "installed") + note)
        if wanted == "flite":
            return Choice(component, "flite", "the program is not installed", INSTALL_HINT, usable=False)
        note += "; flite, the better voice, is not installed"
    if importlib.util.find_spec("espeakng_loader") is None:
        return Choice(
            component, "espeak", "espeakng-loader is not installed", "pip install espeakng-loader.", usable=False
        )
    todo = "A clearer voice: apt install flite." if flite_path() is None else ""
    why = "asked for" if wanted == "espeak" else "embedded"
    return Choice(component, f"espeak/{_voice_name(settings, 'espeak')}", why + note, todo)


def _voice_name(settings: SpeechSettings, engine: Literal["flite", "espeak"]) -> str:
    return settings.voice or {"flite": "slt", "espeak": "en-us"}[engine]
