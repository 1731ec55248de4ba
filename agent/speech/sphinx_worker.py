"""Helper process: pocketsphinx decoders. Run by `helper.Helper`; arguments: language model, dictionary.

A process of its own, because pocketsphinx holds Python's global lock while it decodes, and the face must not wait.
"""

from __future__ import annotations

import sys
from typing import Any

from agent.speech import pipe

MAX_DECODERS = 8


def main() -> None:
    """Answer messages until standard input closes."""
    from pocketsphinx import Decoder

    # One pass only: the second pass and the lattice search cost 35-100 ms after the last word and changed the
    # word error rate by less than half a point (docs/speech.md).
    options = {"lm": sys.argv[1], "dict": sys.argv[2], "fwdflat": False, "bestpath": False, "loglevel": "FATAL"}
    decoders: dict[int, Any] = {}
    active: set[int] = set()
    while (item := pipe.read(sys.stdin.buffer)) is not None:
        message, payload = item
        op, stream = message["op"], message.get("stream", 0)
        reply: pipe.Message = {"id": message.get("id", 0)}
        try:
            if op == "open" and stream not in decoders:
                if len(decoders) >= MAX_DECODERS:
                    raise RuntimeError(f"more than {MAX_DECODERS} recognitions at once")
                decoders[stream] = Decoder(**options)
            elif op == "close":
                decoders.pop(stream, None)
                active.discard(stream)
            elif op == "start":
                if stream in active:
                    decoders[stream].end_utt()
                decoders[stream].start_utt()
                active.add(stream)
            elif op == "audio" and stream in active and payload:
                decoders[stream].process_raw(payload)
            elif op == "partial" and stream in active:
                reply |= _hypothesis(decoders[stream])
            elif op == "end" and stream in active:
                active.discard(stream)
                decoders[stream].end_utt()
                reply |= _hypothesis(decoders[stream])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reply["error"] = f"{type(error).__name__}: {error}"
        if reply["id"]:
            pipe.write(sys.stdout.buffer, reply)


def _hypothesis(decoder: Any) -> pipe.Message:
    """Words with their times in seconds; fillers and pronunciation marks such as `the(2)` removed."""
    words = []
    if decoder.hyp() is not None:
        for segment in decoder.seg():
            word = segment.word.partition("(")[0]
            if word and not word.startswith(("<", "[", "+")):
                words.append([word, segment.start_frame / 100, (segment.end_frame + 1) / 100])
    return {"words": words}


if __name__ == "__main__":
    main()
