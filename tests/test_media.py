"""MP4 files: what goes in comes out, in step."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from agent.captions import Cue, webvtt
from agent.media import Mp4Writer
from avatar.clock import FRAME_SAMPLES, STREAM_RATE


def test_sound_and_picture_stay_in_step(tmp_path: Path) -> None:
    """A flash and a click in frame 40 are decoded at the same time, within one frame."""
    path = tmp_path / "a.mp4"
    with Mp4Writer(path, size=64) as writer:
        for k in range(75):
            pcm_S = np.zeros(FRAME_SAMPLES, np.int16)
            if k == 40:
                pcm_S[:] = (20_000 * np.sin(np.arange(FRAME_SAMPLES) * 0.3)).astype(np.int16)
            writer.write(np.full((64, 64, 3), 255 if k == 40 else 0, np.uint8), pcm_S)
    with av.open(str(path)) as container:
        assert {s.codec_context.name for s in container.streams} == {"h264", "aac"}
        bright = [f.time for f in container.decode(video=0) if f.to_ndarray(format="gray").mean() > 128]
    with av.open(str(path)) as container:
        loud = [f.time for f in container.decode(audio=0) if np.abs(f.to_ndarray()).max() > 0.2]
        duration = container.duration / av.time_base
    assert bright == [pytest.approx(1.6)]
    assert abs(loud[0] - 1.6) <= 0.04
    assert duration == pytest.approx(3.0, abs=0.08)


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "a.mp4", size=64) as writer:
        with pytest.raises(ValueError, match="64 x 64"):
            writer.write(np.zeros((32, 64, 3), np.uint8), np.zeros(FRAME_SAMPLES, np.int16))
        writer.write(np.zeros((64, 64, 3), np.uint8), np.zeros(FRAME_SAMPLES, np.int16))


def test_captions_are_webvtt() -> None:
    text = webvtt(
        [Cue(0, STREAM_RATE, "Hello <b> & you --> me"), Cue(3661 * STREAM_RATE, 3662 * STREAM_RATE, "Late\n")]
    )
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello &lt;b> &amp; you → me\n")
    assert "01:01:01.000 --> 01:01:02.000\nLate\n" in text
