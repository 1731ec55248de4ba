"""Voices of Coqui TTS (`coqui-tts`, an optional extra): the operator's own model, or one downloaded before."""

from __future__ import annotations

import asyncio
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.speech.arpabet import from_ipa
from agent.speech.errors import SpeechError
from agent.speech.voice import Utterance, Voice
from avatar.audio.phones import TimedPhone

INSTALL_HINT = "Install it with: pip install -c constraints.txt -e '.[coqui]' (docs/speech.md says more)."

VITS_HOP = 256
"""Samples for each frame of a VITS duration, unless the model's own configuration says otherwise."""


SPACE_PAUSE_S = 0.1
"""A space that lasts shorter is no pause: fluent speech has none between words, and the mouth must not close."""


def installed() -> bool:
    """Whether the package is there (not whether it loads)."""
    return importlib.util.find_spec("TTS") is not None


def find_model(name_or_path: str) -> tuple[Path, Path]:
    """(model file, configuration file); never touches the network. Raises SpeechError saying what to do."""
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        folder = cache_folder() / name_or_path.replace("/", "--")
    if not folder.is_dir():
        raise SpeechError(
            "model_missing",
            f"The Coqui model '{name_or_path}' is not on this machine.",
            "Give a folder with a model file (.pth) and config.json, or, where the network allows, fetch it once with: "
            f"tts --model_name {name_or_path} --text hello --out_path hello.wav",
        )
    models = sorted(folder.glob("*.pth"), key=lambda path: (path.name != "model.pth", "speaker" in path.name, path))
    config = folder / "config.json"
    if not models or not config.is_file():
        message = f"{folder} holds no Coqui model."
        raise SpeechError("model_missing", message, "A model file (.pth) and config.json are needed.")
    return models[0], config


def cache_folder() -> Path:
    """Where Coqui TTS keeps what it has downloaded."""
    home = os.environ.get("TTS_HOME") or os.environ.get("XDG_DATA_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".local" / "share") / "tts"


class CoquiVoice(Voice):
    """One model in one worker thread. VITS models that read phonemes also tell their phone times; others do not.

    model: folder or cached name. speaker: for models with several. rate: speaking rate (VITS only).
    language: for models with several. Raises SpeechError when package or model are not here or do not load.
    """

    def __init__(
        self, model: str, *, speaker: str | None = None, rate: float = 1.0, language: str | None = None
    ) -> None:
        if not installed():
            raise SpeechError("engine_missing", "Coqui TTS is not installed.", INSTALL_HINT)
        self._files = find_model(model)
        self.name = f"coqui/{model}"
        self._speaker = speaker
        self._rate = rate
        self._language = language
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="coqui")
        self._synthesizer: Any = None
        self._current = threading.Event()

    async def warm(self) -> None:
        """Load the model now (seconds) rather than with the first sentence. Raises SpeechError."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    async def _say(self, text: str) -> Utterance:
        stop = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._synthesize, text, stop)
        finally:
            stop.set()  # when cancelled, the model stops at its next layer

    def _load(self) -> Any:
        if self._synthesizer is None:
            model_path, config_path = self._files
            try:
                import_coqui()
                from TTS.utils.synthesizer import Synthesizer

                self._synthesizer = Synthesizer(tts_checkpoint=str(model_path), tts_config_path=str(config_path))
            except Exception as error:  # Coqui raises whatever its many models raise
                message = f"The Coqui model in {model_path.parent} cannot be loaded ({type(error).__name__}: {error})."
                raise SpeechError("model_broken", message, "See docs/speech.md, 'Coqui TTS'.") from error
            model = self._synthesizer.tts_model
            for module in model.modules():
                module.register_forward_pre_hook(self._stop_if_unwanted)
            if hasattr(model, "length_scale"):
                model.length_scale = model.length_scale / self._rate
            speakers = list(model.speaker_manager.speaker_names) if getattr(model, "speaker_manager", None) else []
            if self._speaker is None and speakers:
                self._speaker = speakers[0]
            if self._speaker is not None and self._speaker not in speakers:
                known = ", ".join(speakers[:8]) or "none: leave speech.voice empty"
                wanted, self._synthesizer = self._speaker, None
                raise SpeechError("voice_unknown", f"The model has no speaker '{wanted}'.", f"Speakers: {known}.")
        return self._synthesizer

    def _stop_if_unwanted(self, module: Any, inputs: Any) -> None:
        if self._current.is_set():
            raise _StoppedError

    def _synthesize(self, text: str, stop: threading.Event) -> Utterance:
        import torch

        synthesizer = self._load()
        model = synthesizer.tts_model
        self._current = stop
        try:
            with torch.inference_mode():
                made = model.synthesize(
                    text,
                    speaker=self._speaker,
                    language=self._language,
                    use_griffin_lim=synthesizer.vocoder_model is None,
                )
        except _StoppedError:
            return Utterance(np.zeros(0, np.int16), int(synthesizer.output_sample_rate), None)
        except Exception as error:  # as above
            raise SpeechError("engine_failed", f"Coqui TTS failed ({type(error).__name__}: {error}).") from error
        rate = int(synthesizer.output_sample_rate)
        pcm_S = to_int16(np.asarray(made["wav"], np.float32).reshape(-1))
        durations = made["outputs"].get("durations") if isinstance(made["outputs"], dict) else None
        phones = None
        if durations is not None and getattr(model.config, "use_phonemes", False):
            characters = model.tokenizer.characters
            symbols = [
                "" if number == model.tokenizer.blank_id else str(characters.id_to_char(number))
                for number in made["text_inputs"].reshape(-1).tolist()
            ]
            hop_s = getattr(model.config.audio, "hop_length", VITS_HOP) / rate
            phones = to_phones(symbols, durations.reshape(-1).tolist(), hop_s)
        return Utterance(pcm_S, rate, phones)

    async def aclose(self) -> None:
        self._current.set()
        self._executor.shutdown(wait=False, cancel_futures=True)


class _StoppedError(Exception):
    """Raised inside the model: nobody waits for this sentence any more."""


def to_phones(symbols: Sequence[str], durations: Sequence[float], hop_s: float) -> list[TimedPhone]:
    """IPA symbols (`""`: blank) with durations in hops -> phones.

    A blank, a stress or a length mark, a short space belongs to the phone before it, or at the start to the silence.
    """
    phones: list[TimedPhone] = []
    end_hops = 0.0
    previous = ""
    for symbol, duration in zip(symbols, durations, strict=True):
        start_s, end_hops = end_hops * hop_s, end_hops + duration
        end_s = end_hops * hop_s
        joined = from_ipa(previous + symbol) if previous and symbol else None
        if joined is not None:  # the second half of a diphthong or an affricate
            phones[-1] = TimedPhone(joined, phones[-1].start_s, end_s)
            previous = ""
            continue
        name = from_ipa(symbol) if symbol else None
        if symbol == " " and end_s - start_s < SPACE_PAUSE_S:
            name = None
        if name is not None:
            phones.append(TimedPhone(name, start_s, end_s))
            previous = symbol
        elif phones:
            phones[-1] = TimedPhone(phones[-1].phone, phones[-1].start_s, end_s)
        else:
            phones.append(TimedPhone("sil", start_s, end_s))
    return [phone for phone in phones if phone.end_s > phone.start_s]


def to_int16(wave_S: NDArray[np.float32]) -> NDArray[np.int16]:
    """-1..1 -> int16; what is louder is clipped, what is not a number is silence."""
    return (np.clip(np.nan_to_num(wave_S), -1, 1) * 32767).astype(np.int16)


def import_coqui() -> None:
    """Import TTS; where torchaudio or torchcodec cannot load, with empty modules in their place.

    `TTS` imports both for training and for reading reference audio, never to speak; their wheels want CUDA libraries
    that a CPU-only torch does not have.
    """
    for name in ("torchaudio", "torchcodec"):
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except (ImportError, OSError, RuntimeError):
            for loaded in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
                del sys.modules[loaded]
            sys.meta_path.append(_StandInFinder(name))
            importlib.import_module(name)
    importlib.import_module("TTS")


class _StandIn(ModuleType):
    """Has every attribute; none can be used."""

    __version__ = "0"
    __path__: list[str] = []  # noqa: RUF012 - the import system's own name: submodules may be asked for

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def unusable(*args: object, **kwargs: object) -> None:
            raise RuntimeError(f"{self.__name__}.{name} is not available here (see docs/speech.md, 'Coqui TTS')")

        return unusable


class _StandInFinder(importlib.machinery.PathFinder):
    """Finds one package and everything under it as stand-ins."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:  # type: ignore[override]
        """Part of the import system's protocol."""
        if fullname == self._package or fullname.startswith(f"{self._package}."):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Part of the import system's protocol."""
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Part of the import system's protocol; there is nothing to run."""
