"""Synthesisers that say when each phone sounds: espeak-ng, flite, festival.

Used only by make_speech_corpus.py. Every source yields (pcm float32 [S], rate Hz, phones).
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import PHONE_TO_VISEME, TimedPhone, normalise_phone


@dataclass(frozen=True)
class Utterance:
    """pcm_S: float32 -1..1; rate in Hz; phones with times; voice: a name that tells voices apart."""

    pcm_S: NDArray[np.float32]
    rate: int
    phones: list[TimedPhone]
    voice: str


# ---------------------------------------------------------------- flite


def flite(text: str, voice: str, stretch: float, pitch_hz: float | None) -> Utterance:
    """Speak with flite; `stretch` > 1 is slower."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.wav"
        command = [
            "flite",
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={stretch:.2f}",
            "-psdur",
            "-t",
            text,
            "-o",
            str(path),
        ]
        if pitch_hz is not None:
            command[3:3] = ["--setf", f"int_f0_target_mean={pitch_hz:.0f}"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        pcm_S, rate = _read_wave(path)
    phones, start = [], 0.0
    for item in shown.split():
        label, end = item.rsplit(":", 1)
        phones.append(TimedPhone(normalise_phone(label), start, float(end)))
        start = float(end)
    return Utterance(pcm_S, rate, phones, f"flite-{voice}")


def _read_wave(path: Path) -> tuple[NDArray[np.float32], int]:
    with wave.open(str(path)) as file:
        pcm_S = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
        return pcm_S.astype(np.float32) / 32768.0, file.getframerate()


# ---------------------------------------------------------------- festival


def festival(texts: list[str]) -> list[Utterance]:
    """Speak a batch with festival's HTS voice (one process: it takes a while to start)."""
    with tempfile.TemporaryDirectory() as folder:
        lines = ["(voice_cmu_us_slt_arctic_hts)"]
        for i, text in enumerate(texts):
            quoted = text.replace("\\", "").replace('"', "")
            lines.append(
                f"(let ((utt (utt.synth (eval (list 'Utterance 'Text \"{quoted}\")))))"
                f' (utt.save.wave utt "{folder}/{i}.wav" \'riff) (utt.save.segs utt "{folder}/{i}.lab"))'
            )
        script = Path(folder) / "batch.scm"
        script.write_text("\n".join(lines))
        subprocess.run(["festival", "-b", str(script)], check=True, capture_output=True)
        out = []
        for i in range(len(texts)):
            pcm_S, rate = _read_wave(Path(folder) / f"{i}.wav")
            phones, start = [], 0.0
            for line in (Path(folder) / f"{i}.lab").read_text().splitlines():
                fields = line.split()
                if len(fields) == 3:
                    phones.append(TimedPhone(normalise_phone(fields[2]), start, float(fields[0])))
                    start = float(fields[0])
            out.append(Utterance(pcm_S, rate, phones, "festival-slt"))
    return out


# ---------------------------------------------------------------- espeak-ng

_ESPEAK_LABELS = {
    "P": "p p#",
    "B": "b",
    "M": "m m-",
    "F": "f",
    "V": "v",
    "TH": "T",
    "DH": "D",
    "T": "t t2 tr t[",
    "D": "d t# d# * dr d[",
    "N": "n n- n^",
    "L": "l l# l^ @L",
    "S": "s ts",
    "Z": "z",
    "SH": "S C",
    "ZH": "Z",
    "CH": "tS",
    "JH": "dZ",
    "K": "k x k#",
    "G": "g",
    "NG": "N",
    "HH": "h H",
    "R": "r r- R R2",
    "W": "w w#",
    "Y": "j ;",
    "sil": "?",
    "AH": "@ @2 @/ @- a# 02 0# V V2 @~ V@",
    "UH": "@5 U U@ 8 U2 Y",
    "ER": "3 3: @3 @r VR 3`",
    "AE": "a aa a2 a@",
    "AA": "A: A@ A A~ a: 0 A# Q",
    "EH": "E E2 E# e@ e: e E: E@ e#",
    "IH": "I I2 I# I@ I2@ IR",
    "IY": "i i: i@ i@3 i2 y",
    "AO": "0: O O: O@ o@ O2 O~ O@2 o@2",
    "OW": "o: o oU VU @U OU oU#",
    "OY": "OI oI",
    "UW": "u: u u2 u#",
    "AY": "aI aI@ aI3 ai",
    "AW": "aU aU@ aU3 au",
    "EY": "eI ei EI",
}
_ESPEAK = {label: phone for phone, labels in _ESPEAK_LABELS.items() for label in labels.split()}


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("string", ctypes.c_char * 8),
    ]  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """espeak-ng in this process; keep one per worker process (it has one global state)."""

    def __init__(self) -> None:
        import espeakng_loader

        self._lib = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        data = str(Path(str(espeakng_loader.get_data_path())).parent)
        self.rate = int(self._lib.espeak_Initialize(2, 0, data.encode(), 1))
        if self.rate <= 0:
            raise ValueError("espeak-ng did not start: its data folder was not found.")
        self._chunks: list[bytes] = []
        self._marks: list[tuple[str, int]] = []
        self._callback = _CALLBACK(self._collect)
        self._lib.espeak_SetSynthCallback(self._callback)
        variants = Path(data) / "espeak-ng-data" / "voices" / "!v"
        self.variants = sorted(p.name for p in variants.iterdir() if p.name not in {"whisper", "whisperf", "UniRobot"})
        self.unknown: dict[str, int] = {}

    def _collect(self, wav: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if wav and count > 0:
            self._chunks.append(ctypes.string_at(wav, 2 * count))
        i = 0
        while events[i].type != 0:
            if events[i].type == 7:
                raw = ctypes.string_at(ctypes.addressof(events[i]) + _Event.string.offset, 8).split(b"\0")[0]
                self._marks.append((raw.decode("latin-1"), events[i].audio_position))
            i += 1
        return 0

    def speak(self, text: str, voice: str, rate_wpm: int, pitch: int, pitch_range: int) -> Utterance | None:
        """Speak; None when the voice does not load or phones are not understood."""
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            return None
        for parameter, value in ((1, rate_wpm), (3, pitch), (4, pitch_range)):
            self._lib.espeak_SetParameter(parameter, value, 0)
        self._chunks, self._marks = [], []
        data = text.encode()
        self._lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, 1, None, None)
        pcm_S = np.frombuffer(b"".join(self._chunks), dtype=np.int16).astype(np.float32) / 32768.0
        phones = []
        edges = [ms for _, ms in self._marks] + [round(1000 * len(pcm_S) / self.rate)]
        for i, (label, start_ms) in enumerate(self._marks):
            phone = self._phone(label)
            if phone is None:
                return None
            if edges[i + 1] > start_ms:
                phones.append(TimedPhone(phone, start_ms / 1000.0, edges[i + 1] / 1000.0))
        return Utterance(pcm_S, self.rate, phones, f"espeak-{voice}") if phones else None

    def _phone(self, label: str) -> str | None:
        if not label or label[0] == "_":
            return "sil"
        label = label.lstrip("',%=")
        known = _ESPEAK.get(label) or _ESPEAK.get(label.rstrip("'~;`-#2:"))
        if known is None:
            self.unknown[label] = self.unknown.get(label, 0) + 1
        return known


assert set(_ESPEAK.values()) <= set(PHONE_TO_VISEME)
