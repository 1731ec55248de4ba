"""What is written can be read back, in step."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from agent.media import Mp4Writer
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE

FLASH = 30
"""The frame that is white, and beeps."""


def test_sound_and_picture_stay_in_step(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    beep_S = (12_000 * np.sin(np.arange(FRAME_SAMPLES) * 2 * np.pi * 1000 / STREAM_RATE)).astype(np.int16)
    with Mp4Writer(path, size=64) as out:
        for number in range(75):
            flash = number == FLASH
            image = np.full((64, 64, 3), 255 if flash else 20, np.uint8)
            out.write(image, beep_S if flash else np.zeros(FRAME_SAMPLES, np.int16))
        assert out.frames == 75
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, float(video.average_rate)) == (64, 64, FPS)
        pictures = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video)]
    assert len(pictures) == 75
    assert max(pictures, key=lambda item: item[1])[0] == pytest.approx(FLASH / FPS, abs=1e-3)
    with av.open(str(path)) as container:
        loud: list[float] = []
        for frame in container.decode(container.streams.audio[0]):
            wave_S = frame.to_ndarray()[0]
            at = np.flatnonzero(np.abs(wave_S) > 0.15)
            loud += [frame.time + place / STREAM_RATE for place in at]
    assert (loud[0] + loud[-1]) / 2 == pytest.approx((FLASH + 0.5) / FPS, abs=0.012)


def test_colours_survive(tmp_path: Path) -> None:
    colours = np.array([[200, 60, 40], [40, 160, 60], [50, 70, 190], [210, 170, 140]], np.uint8)
    image = np.repeat(np.repeat(colours.reshape(2, 2, 3), 32, 0), 32, 1)
    with Mp4Writer(tmp_path / "c.mp4", size=64) as out:
        for _ in range(5):
            out.write(image, np.zeros(FRAME_SAMPLES, np.int16))
    with av.open(str(tmp_path / "c.mp4")) as container:
        frame = list(container.decode(video=0))[-1]
    read = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    for y, x in ((16, 16), (16, 48), (48, 16), (48, 48)):
        assert np.abs(read[y, x].astype(int) - image[y, x]).max() <= 6


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64 x 64"), Mp4Writer(tmp_path / "x.mp4", size=64) as out:
        out.write(np.zeros((32, 32, 3), np.uint8), np.zeros(FRAME_SAMPLES, np.int16))
