"""The voice that is always there: espeak-ng from a pip wheel, in a helper process."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.speech import pipe
from agent.speech.arpabet import from_espeak
from agent.speech.errors import SpeechError
from agent.speech.helper import Helper, helper_environment
from agent.speech.voice import Utterance, Voice
from avatar.audio.phones import TimedPhone

WORKER = Path(__file__).with_name("espeak_worker.py")
DEFAULT_VOICE = "en-us"

_TIMEOUT_S = 10.0
_VOICE_NAME = re.compile(r"[A-Za-z][\w-]{0,31}(\+[\w -]{1,32})?")
_FIRST_SHARE = 0.6
"""Of a mnemonic that stands for two phones (`A@`: AA R), the part of its time that the first one gets."""


class EspeakVoice(Voice):
    """espeak-ng: robotic, but instant (a sentence takes 5 ms) and installed with us.

    voice: a language such as `en-us` or `de`, or a variant such as `en-us+f3`. rate: speaking rate, 0.5 to 2.
    """

    def __init__(self, voice: str = DEFAULT_VOICE, *, rate: float = 1.0) -> None:
        if not _VOICE_NAME.fullmatch(voice):
            raise SpeechError(
                "voice_unknown", f"'{voice}' is no name of an espeak-ng voice.", "Try en-us, or en-us+f3 for a woman's."
            )
        if not 0.5 <= rate <= 2:
            raise SpeechError("rate_range", f"A speaking rate of {rate} is out of range.", "Choose 0.5 to 2.")
        self.name = f"espeak/{voice}"
        self._voice = voice
        self._rate = rate
        self._helper = Helper(WORKER, name="espeak-ng")

    async def _say(self, text: str) -> Utterance:
        request = {"op": "say", "voice": self._voice, "rate": self._rate, "text": text}
        reply, payload = await self._helper.call(request, timeout_s=_TIMEOUT_S)
        pcm_S = np.frombuffer(payload, "<i2").astype(np.int16)
        rate = int(reply["rate"])
        return Utterance(pcm_S, rate, to_phones(reply["phones"], len(pcm_S) / rate))

    async def aclose(self) -> None:
        await self._helper.aclose()


def to_phones(starts: Sequence[tuple[str, float]], duration_s: float) -> list[TimedPhone]:
    """espeak-ng's (mnemonic, start in seconds) -> phones; each lasts until the next one starts."""
    phones: list[TimedPhone] = []
    for i, (mnemonic, start_s) in enumerate(starts):
        end_s = starts[i + 1][1] if i + 1 < len(starts) else duration_s
        if end_s <= start_s:
            continue
        names = from_espeak(mnemonic)
        if not names:  # a mark inside a phone: the phone before it goes on
            if phones:
                phones[-1] = TimedPhone(phones[-1].phone, phones[-1].start_s, end_s)
            continue
        if i == 0 and start_s > 0:
            phones.append(TimedPhone("sil", 0.0, start_s))
        middle_s = start_s + _FIRST_SHARE * (end_s - start_s) if len(names) == 2 else end_s
        phones.append(TimedPhone(names[0], start_s, middle_s))
        if len(names) == 2:
            phones.append(TimedPhone(names[1], middle_s, end_s))
    return phones


def pronounce(words: Sequence[str]) -> dict[str, list[str]]:
    """ARPAbet phones of English words by espeak-ng's rules, all in one run of the helper (blocking).

    Empty when espeak-ng is not there or fails: the words then stay unknown.
    """
    requests = b"".join(
        pipe.pack({"id": i, "op": "pronounce", "voice": DEFAULT_VOICE, "rate": 2.0, "text": word})
        for i, word in enumerate(words, 1)
    )
    run = subprocess.run(  # noqa: S603 - our own worker
        [sys.executable, "-s", "-P", str(WORKER)],
        input=requests, capture_output=True, timeout=60, check=False, cwd="/", env=helper_environment(),
    )  # fmt: skip
    found: dict[str, list[str]] = {}
    output = io.BytesIO(run.stdout)
    while (item := pipe.read(output)) is not None:
        reply, _ = item
        phones = [name for mnemonic, _ in reply.get("phones", []) for name in from_espeak(mnemonic) if name != "sil"]
        if phones:
            found[words[reply["id"] - 1]] = phones
    return found
