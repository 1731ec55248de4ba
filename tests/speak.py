"""Questions as sound, by the embedded voice, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr

from agent.speech.select import choose_voice
from avatar.clock import STREAM_RATE
from config.settings import SpeechSettings


async def speak(text: str, *, rate: int = 16_000, voice: str | None = None) -> np.ndarray[Any, np.dtype[np.int16]]:
    """`text` spoken, int16 mono at `rate`."""
    speaker = choose_voice(SpeechSettings(voice=voice))
    try:
        pcm_S = np.concatenate([chunk.pcm_S async for chunk in speaker.synthesize(text)])
    finally:
        await speaker.aclose()
    resampled_S = soxr.resample(pcm_S.astype(np.float32), STREAM_RATE, rate)
    return np.clip(resampled_S, -32768, 32767).astype(np.int16)
