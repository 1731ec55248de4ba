"""Free speech: faster-whisper with a model that the operator has (a folder, or a name in the Hugging Face cache)."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from livekit.agents import APIConnectionError, LanguageCode, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.agents.utils import AudioBuffer
from numpy.typing import NDArray

from agent.speech.errors import SpeechError
from agent.speech.stt_pocketsphinx import to_mic_rate
from avatar.clock import MIC_RATE

logger = logging.getLogger("visavis.stt")

USUAL_MODELS = ("distil-small.en", "small.en", "base.en", "tiny.en", "small", "base", "tiny")
"""Looked for in the cache when none is named: good enough and fast enough on a CPU, best first."""

MAX_AUDIO_S = 60.0
MIN_AUDIO_S = 0.1


def find_model(name_or_path: str) -> Path:
    """The folder of a model; never touches the network. Raises SpeechError saying what to do."""
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        for name in ("model.bin", "config.json", "tokenizer.json"):  # without the last, it would be asked for on-line
            if not (path / name).is_file():
                hint = (
                    "Give a faster-whisper model's folder, or convert a Whisper model: "
                    "ct2-transformers-converter --model FOLDER --output_dir OUT --copy_files tokenizer.json"
                )
                message = f"{path} holds no CTranslate2 Whisper model ({name} is missing)."
                raise SpeechError("model_missing", message, hint)
        return path
    hint = (
        "Give a folder that holds the model, or, where the network allows, fetch it once with: "
        f"python -c \"import faster_whisper; faster_whisper.download_model('{name_or_path}')\""
    )
    if path.is_absolute() or name_or_path.startswith((".", "~")):
        raise SpeechError("model_missing", f"There is no folder {path}.", hint)
    from faster_whisper.utils import download_model
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(download_model(name_or_path, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError) as error:
        message = f"The Whisper model '{name_or_path}' is not on this machine."
        raise SpeechError("model_missing", message, hint) from error
    except (ValueError, HFValidationError) as error:
        message = f"'{name_or_path}' is no folder and no name of a Whisper model."
        raise SpeechError("model_unknown", message, f"Names are such as {', '.join(USUAL_MODELS[:4])}.") from error


@cache
def usual_model() -> str | None:
    """The best of USUAL_MODELS that is in the cache."""
    for name in USUAL_MODELS:
        try:
            find_model(name)
        except SpeechError:
            continue
        return name
    return None


class FasterWhisperSTT(stt.STT[str]):
    """Whisper on whole utterances (LiveKit's voice activity cuts them), in one worker thread.

    model: folder or cached name. language: ISO code, or None to let the model find out (costs time on each utterance).
    device: auto, cpu (int8) or cuda (float16). Raises SpeechError when the model is not here.
    """

    def __init__(self, model: str, *, language: str | None = "en", device: str = "auto") -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._name = model
        self._path = find_model(model)
        self._language = language
        self._device = device
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="whisper")
        self._model: Any = None

    @property
    def model(self) -> str:
        return self._name

    @property
    def provider(self) -> str:
        return "faster-whisper"

    async def warm(self) -> None:
        """Load the model now rather than with the first words. Raises SpeechError when it cannot be loaded."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        pcm_S = np.frombuffer(to_mic_rate(buffer), np.int16)[: int(MAX_AUDIO_S * MIC_RATE)]
        wanted = str(language) if language else self._language
        try:
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(self._executor, self._transcribe, pcm_S, wanted)
        except SpeechError as error:
            raise APIConnectionError(str(error), retryable=False) from error
        except RuntimeError as error:  # CTranslate2's only kind
            raise APIConnectionError(f"faster-whisper failed: {error}") from error
        return stt.SpeechEvent(stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])

    def _load(self) -> Any:
        if self._model is None:
            import ctranslate2  # type: ignore[import-untyped]
            from faster_whisper import WhisperModel

            cuda = self._device == "cuda" or (self._device == "auto" and ctranslate2.get_cuda_device_count() > 0)
            started = time.perf_counter()
            try:
                self._model = WhisperModel(
                    str(self._path),
                    device="cuda" if cuda else "cpu",
                    compute_type="float16" if cuda else "int8",
                    cpu_threads=max(1, (os.cpu_count() or 2) // 2),  # the other half draws the face
                    local_files_only=True,
                )
            except (RuntimeError, ValueError, OSError) as error:
                hint = "It must be a complete CTranslate2 Whisper model (model.bin, config.json, tokenizer.json)."
                message = f"The Whisper model in {self._path} cannot be loaded ({error})."
                raise SpeechError("model_broken", message, hint) from error
            logger.info("whisper loaded", extra={"model": self._name, "seconds": time.perf_counter() - started})
        return self._model

    def _transcribe(self, pcm_S: NDArray[np.int16], language: str | None) -> stt.SpeechData:
        model = self._load()
        code = LanguageCode(language or "en")
        if len(pcm_S) < MIN_AUDIO_S * MIC_RATE:
            return stt.SpeechData(code, "")
        segments, info = model.transcribe(
            pcm_S.astype(np.float32) / 32768,
            language=language if model.model.is_multilingual else "en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        parts = [segment for segment in segments if segment.no_speech_prob < 0.6 or segment.avg_logprob > -1.0]
        text = " ".join(segment.text.strip() for segment in parts).strip()
        certainty = float(np.exp(np.mean([segment.avg_logprob for segment in parts]))) if parts else 0.0
        duration_s = len(pcm_S) / MIC_RATE
        return stt.SpeechData(LanguageCode(info.language), text, end_time=duration_s, confidence=min(1.0, certainty))

    async def aclose(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
