"""The embedded voice: the `flite` program (BSD-like licence), which also tells its phone times."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import tempfile
import unicodedata
import wave
from typing import IO

import numpy as np
from numpy.typing import NDArray

from agent.speech.arpabet import from_flite
from agent.speech.errors import SpeechError
from agent.speech.helper import kill_now
from agent.speech.voice import Utterance, Voice
from avatar.audio.phones import TimedPhone

VOICES = ("slt", "rms", "awb", "kal16")
"""slt: US woman (default); rms: US man; awb: Scottish man; kal16: US man, the oldest and fastest."""

INSTALL_HINT = (
    "Install it (Debian, Ubuntu: apt install flite), or choose another voice with VISAVIS_SPEECH__TTS=espeak."
)

_TIMEOUT_S = 20.0
_POUNDS = re.compile(r"([£€])\s?(\d+(?:[.,]\d+)?)")
_RANGE = re.compile(r"(?<=\d)\s?[–—-]\s?(?=\d)")
_CLOCK = re.compile(r"\b(\d{1,2})\.(\d\d)(?=\s?[ap]\.?m\b)", re.IGNORECASE)
_UNITS = re.compile(r"(?<=\d)\s?(km/h|km|kg|cm|mm|°C|°)(?!\w)")
_UNIT_WORDS = {"km/h": "kilometres per hour", "km": "kilometres", "kg": "kilograms", "cm": "centimetres",
               "mm": "millimetres", "°C": "degrees celsius", "°": "degrees"}  # fmt: skip


def flite_path() -> str | None:
    """Where the program is, or None."""
    return shutil.which("flite")


class FliteVoice(Voice):
    """One short-lived flite process for each sentence: 30-80 ms, nothing to keep alive, killed when cancelled.

    voice: one of VOICES. rate: speaking rate, 0.5 to 2.
    """

    def __init__(self, voice: str = "slt", *, rate: float = 1.0) -> None:
        path = flite_path()
        if path is None:
            raise SpeechError("voice_missing", "The speech synthesiser flite is not installed.", INSTALL_HINT)
        if voice not in VOICES:
            raise SpeechError(
                "voice_unknown", f"flite has no voice named '{voice}'.", f"Choose one of {', '.join(VOICES)}."
            )
        if not 0.5 <= rate <= 2:
            raise SpeechError("rate_range", f"A speaking rate of {rate} is out of range.", "Choose 0.5 to 2.")
        self.name = f"flite/{voice}"
        self._command = [path, "-voice", voice, "-psdur", "--setf", f"duration_stretch={1 / rate:.4f}"]
        # More at once than cores would only make every one of them late.
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 1))

    async def _say(self, text: str) -> Utterance:
        async with self._slots:
            # Unlinked files: no other user can read what is said (a command line could be), nothing stays behind.
            with tempfile.TemporaryFile() as text_file, tempfile.TemporaryFile() as wav_file:
                text_file.write(spell_out(text).encode())
                text_file.seek(0)
                phone_lines = await self._run(text_file, wav_file)
                wav_file.seek(0)
                pcm_S, rate = read_wav(wav_file.read())
        return Utterance(pcm_S, rate, parse_phones(phone_lines))

    async def _run(self, text_file: IO[bytes], wav_file: IO[bytes]) -> str:
        wav_fd = wav_file.fileno()
        process = await asyncio.create_subprocess_exec(
            *self._command, "-f", "/dev/stdin", "-o", f"/dev/fd/{wav_fd}",
            stdin=text_file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, pass_fds=(wav_fd,),
        )  # fmt: skip
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise SpeechError("engine_failed", f"flite took more than {_TIMEOUT_S:.0f} s for one sentence.") from error
        finally:
            if process.returncode is None:
                kill_now(process)
                await process.wait()
        if process.returncode != 0:
            raise SpeechError("engine_failed", f"flite stopped with code {process.returncode}.", INSTALL_HINT)
        return output.decode("ascii", "replace")


def spell_out(text: str) -> str:
    """What flite would misread, in words; ASCII, one line (flite reads bytes and knows no accents)."""
    text = _RANGE.sub(" to ", text)
    text = _POUNDS.sub(lambda m: f"{m[2]} {'pounds' if m[1] == '£' else 'euros'}", text)
    text = _CLOCK.sub(r"\1:\2", text)
    text = _UNITS.sub(lambda m: " " + _UNIT_WORDS[m[1]], text)
    text = text.translate({ord("’"): "'", ord("‘"): "'", ord("“"): '"', ord("”"): '"', ord("–"): ", ", ord("—"): ", "})
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def parse_phones(output: str) -> list[TimedPhone]:
    """`-psdur` output (`name:end_seconds ...`, a line for each utterance, times from that line's start) -> phones."""
    phones: list[TimedPhone] = []
    offset_s = 0.0
    for line in output.splitlines():
        start_s = 0.0
        for item in line.split():
            name, _, end = item.rpartition(":")
            try:
                end_s = float(end)
            except ValueError:
                continue
            if name and end_s >= start_s:
                phones.append(TimedPhone(from_flite(name), offset_s + start_s, offset_s + end_s))
                start_s = end_s
        offset_s += start_s
    return phones


def read_wav(data: bytes) -> tuple[NDArray[np.int16], int]:
    """A RIFF file of flite's (16 bit, mono) -> samples, rate. Raises SpeechError when it is none."""
    if not data:
        return np.zeros(0, np.int16), 16_000
    try:
        with wave.open(io.BytesIO(data)) as reader:
            rate = reader.getframerate()
            frames = reader.readframes(reader.getnframes())
    except (wave.Error, EOFError) as error:
        raise SpeechError("engine_failed", "flite wrote no readable audio.", INSTALL_HINT) from error
    return np.frombuffer(frames[: len(frames) // 2 * 2], "<i2").astype(np.int16), rate
