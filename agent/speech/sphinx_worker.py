"""Helper process: pocketsphinx decoders. Run by `helper.Helper`; arguments: language model, dictionary.

A process of its own, because pocketsphinx holds Python's global lock while it decodes, and the face must not wait.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from agent.speech import pipe

MAX_DECODERS = 8

USUAL_MEAN = "45.96,1.58,-1.97,3.22,-2.72,0.35,-2.95,-0.20,-0.74,-1.64,-1.01,0.52,0.33"
"""Cepstral mean of 19 recordings of people at ordinary levels; where listening starts from in a new place."""

SETTLING_UTTERANCES = 3
"""Until that many have been heard, microphone and room are unknown and each is decoded a second time, with its own
cepstral mean (in noise the first words' error rate falls from .42 to .08; docs/speech.md). Afterwards the mean that
follows along while people speak does as well, and there is nothing left to do when they stop."""

MOVED = 6.0
"""A mean that moves further than this during one utterance means another microphone or visitor: decode it again."""

SECOND_PASS_BYTES = 2 * 16_000 * 6
"""Longer utterances have settled their own mean by half-way, and would take too long."""


class Ear:
    """One decoder and what it has heard of the present utterance."""

    heard = 0
    """Utterances so far, of all decoders: they share microphone and room."""

    mean = USUAL_MEAN

    def __init__(self, lm_path: str, dict_path: str) -> None:
        from pocketsphinx import Decoder

        # One pass only: the search's own second pass and the lattice cost 35-100 ms after the last word and changed
        # the word error rate by less than half a point (docs/speech.md).
        self._decoder = Decoder(lm=lm_path, dict=dict_path, fwdflat=False, bestpath=False, loglevel="FATAL")
        self._pcm = bytearray()
        self.active = False

    def start(self) -> None:
        """Begin an utterance; one that has not ended is forgotten."""
        if self.active:
            self._decoder.end_utt()
        self._decoder.set_cmn(Ear.mean)
        self._decoder.start_utt()
        self._pcm.clear()
        self.active = True

    def feed(self, pcm: bytes) -> None:
        """Decode some more sound."""
        if self.active and pcm:
            self._decoder.process_raw(pcm)
            if len(self._pcm) <= SECOND_PASS_BYTES:
                self._pcm += pcm

    def partial(self) -> list[Any]:
        """Words so far."""
        return self._words() if self.active else []

    def finish(self) -> list[Any]:
        """End the utterance; all its words."""
        if not self.active:
            return []
        self.active = False
        self._decoder.end_utt()
        words = self._words()
        before, Ear.mean = Ear.mean, self._decoder.get_cmn(True)
        unsettled = Ear.heard < SETTLING_UTTERANCES or _distance(before, Ear.mean) > MOVED
        if unsettled and 0 < len(self._pcm) <= SECOND_PASS_BYTES:
            self._decoder.start_utt()
            self._decoder.process_raw(bytes(self._pcm), full_utt=True)
            self._decoder.end_utt()
            words = self._words()
        Ear.heard += bool(words)
        return words

    def _words(self) -> list[Any]:
        """[word, start, end] in seconds; fillers and pronunciation marks such as `the(2)` removed."""
        words: list[Any] = []
        if self._decoder.hyp() is None:
            return words
        for segment in self._decoder.seg():
            word = segment.word.partition("(")[0]
            if word and not word.startswith(("<", "[", "+")):
                words.append([word, segment.start_frame / 100, (segment.end_frame + 1) / 100])
        return words


def _distance(a: str, b: str) -> float:
    return math.dist([float(x) for x in a.split(",")], [float(x) for x in b.split(",")])


def main() -> None:
    """Answer messages until standard input closes."""
    ears: dict[int, Ear] = {}
    while (item := pipe.read(sys.stdin.buffer)) is not None:
        message, payload = item
        op, stream = message["op"], message.get("stream", 0)
        reply: pipe.Message = {"id": message.get("id", 0)}
        try:
            if op == "open" and stream not in ears:
                if len(ears) >= MAX_DECODERS:
                    raise RuntimeError(f"more than {MAX_DECODERS} recognitions at once")
                ears[stream] = Ear(sys.argv[1], sys.argv[2])
            elif op == "close":
                ears.pop(stream, None)
            elif op == "start":
                ears[stream].start()
            elif op == "audio":
                ears[stream].feed(payload)
            elif op == "partial":
                reply["words"] = ears[stream].partial()
            elif op == "end":
                reply["words"] = ears[stream].finish()
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reply["error"] = f"{type(error).__name__}: {error}"
        if reply["id"]:
            pipe.write(sys.stdout.buffer, reply)


if __name__ == "__main__":
    main()
