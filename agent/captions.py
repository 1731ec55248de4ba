"""Captions as WebVTT."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from avatar.clock import STREAM_RATE


@dataclass(frozen=True, slots=True)
class Cue:
    """What is said between two samples of the 24 kHz clock."""

    start_sample: int
    end_sample: int
    text: str


def webvtt(cues: Iterable[Cue]) -> str:
    """A WebVTT file of the cues, in order."""
    blocks = ["WEBVTT"]
    for cue in cues:
        # `-->` would end the cue's timing line early, `<` and `&` are markup.
        text = cue.text.strip().replace("&", "&amp;").replace("<", "&lt;").replace("-->", "→")
        if text:
            blocks.append(f"{_stamp(cue.start_sample)} --> {_stamp(cue.end_sample)}\n{' '.join(text.split())}")
    return "\n\n".join(blocks) + "\n"


def _stamp(sample: int) -> str:
    milliseconds = round(sample * 1000 / STREAM_RATE)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}"
