"""Captions that players understand."""

from agent.captions import Cue, webvtt
from avatar.clock import STREAM_RATE


def test_captions_are_webvtt() -> None:
    text = webvtt(
        [Cue(0, STREAM_RATE, "Hello <b> & you --> me"), Cue(3661 * STREAM_RATE, 3662 * STREAM_RATE, "Late\n")]
    )
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello &lt;b> &amp; you → me\n")
    assert "01:01:01.000 --> 01:01:02.000\nLate\n" in text
