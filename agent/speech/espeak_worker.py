"""Helper process: espeak-ng through ctypes. Run by `helper.Helper`.

A process of its own because espeak-ng has one global state and is licensed GPL-3: it is a separate program that we talk
to over a pipe. Request: {"op": "say", "voice", "rate", "text"}; reply: {"rate", "phones": [[name, seconds], ...]} with
16-bit samples as payload; a phone's time is its start. {"op": "pronounce"} makes no sound to send.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from agent.speech import pipe

_RETRIEVE_SYNCHRONOUSLY = 2
_PHONEME_EVENTS, _DONT_EXIT = 0x0001, 0x8000
_UTF8 = 1
_RATE_PARAMETER, _NORMAL_WORDS_PER_MINUTE = 1, 175
_END_OF_LIST, _PHONEME = 0, 7

MAX_SAMPLES = 60 * 22_050
"""A piece that sounds longer is cut off."""


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Id),
    )  # fmt: skip


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Engine:
    """The library, loaded once."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        options = _PHONEME_EVENTS | _DONT_EXIT
        data_path = espeakng_loader.get_data_path().encode()
        self.rate = self._library.espeak_Initialize(_RETRIEVE_SYNCHRONOUSLY, 200, data_path, options)
        if self.rate <= 0:
            raise RuntimeError("espeak-ng could not be initialised")
        self._pcm = bytearray()
        self._phones: list[tuple[str, float]] = []
        self._callback = _Callback(self._collect)  # kept: the library holds the pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._pcm += ctypes.string_at(samples, 2 * count)
        for event in events:
            if event.type == _END_OF_LIST:
                break
            if event.type == _PHONEME:
                name = bytes(event.id.string).partition(b"\0")[0].decode("utf-8", "replace")
                self._phones.append((name, event.audio_position / 1000))
        return int(len(self._pcm) > 2 * MAX_SAMPLES)

    def say(self, voice: str, rate: float, text: str) -> tuple[bytes, list[tuple[str, float]]]:
        """Samples and phone starts."""
        if voice != self._voice:
            if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice named '{voice}'")
            self._voice = voice
        self._library.espeak_SetParameter(_RATE_PARAMETER, round(_NORMAL_WORDS_PER_MINUTE * rate), 0)
        self._pcm, self._phones = bytearray(), []
        data = text.encode() + b"\0"
        if self._library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, _UTF8, None, None) != 0:
            raise RuntimeError("espeak-ng refused the text")
        self._library.espeak_Synchronize()
        return bytes(self._pcm[: 2 * MAX_SAMPLES]), self._phones


def main() -> None:
    """Answer messages until standard input closes."""
    engine = Engine()
    while (item := pipe.read(sys.stdin.buffer)) is not None:
        message, _ = item
        reply: pipe.Message = {"id": message.get("id", 0), "rate": engine.rate}
        pcm = b""
        try:
            pcm, reply["phones"] = engine.say(message["voice"], float(message["rate"]), message["text"])
        except (RuntimeError, ValueError, KeyError) as error:
            reply["error"] = str(error)
        pipe.write(sys.stdout.buffer, reply, b"" if message["op"] == "pronounce" else pcm)


if __name__ == "__main__":
    main()
