"""What is written can be read back, in step."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from agent.media import ClipWriter, check_clip
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.render.output import Background, FrameFormat, Framing
from config import ConfigError

SMALL = FrameFormat(128)
CLEAR = FrameFormat(128, background=Background("transparent"))
FLASH = 30
"""The frame that is white, and beeps."""


@pytest.mark.parametrize(("name", "codecs"), [("out.mp4", ("h264", "aac")), ("out.webm", ("vp9", "opus"))])
def test_sound_and_picture_stay_in_step(tmp_path: Path, name: str, codecs: tuple[str, str]) -> None:
    path = tmp_path / name
    beep_S = (12_000 * np.sin(np.arange(FRAME_SAMPLES) * 2 * np.pi * 1000 / STREAM_RATE)).astype(np.int16)
    with ClipWriter(path, SMALL) as out:
        for number in range(75):
            flash = number == FLASH
            image = np.full((128, 128, 3), 255 if flash else 20, np.uint8)
            out.write(image, beep_S if flash else np.zeros(FRAME_SAMPLES, np.int16))
        assert out.frames == 75
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == codecs
        assert (video.width, video.height, float(video.average_rate)) == (128, 128, FPS)
        pictures = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video)]
    assert len(pictures) == 75
    assert max(pictures, key=lambda item: item[1])[0] == pytest.approx(FLASH / FPS, abs=1e-3)
    with av.open(str(path)) as container:
        loud: list[float] = []
        for frame in container.decode(container.streams.audio[0]):
            wave_S = frame.to_ndarray()[0]
            at = np.flatnonzero(np.abs(wave_S) > 0.15)
            loud += [frame.time + place / frame.sample_rate for place in at]
    assert (loud[0] + loud[-1]) / 2 == pytest.approx((FLASH + 0.5) / FPS, abs=0.012)


def test_colours_survive(tmp_path: Path) -> None:
    colours = np.array([[200, 60, 40], [40, 160, 60], [50, 70, 190], [210, 170, 140]], np.uint8)
    image = np.repeat(np.repeat(colours.reshape(2, 2, 3), 64, 0), 64, 1)
    with ClipWriter(tmp_path / "c.mp4", SMALL) as out:
        for _ in range(5):
            out.write(image, np.zeros(FRAME_SAMPLES, np.int16))
    with av.open(str(tmp_path / "c.mp4")) as container:
        frame = list(container.decode(video=0))[-1]
    read = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    for y, x in ((32, 32), (32, 96), (96, 32), (96, 96)):
        assert np.abs(read[y, x].astype(int) - image[y, x]).max() <= 6


def test_opacity_survives(tmp_path: Path) -> None:
    image = np.zeros((128, 128, 4), np.uint8)
    image[:, 40:] = (200, 60, 40, 255)
    image[:64, 80:, 3] = 128
    with ClipWriter(tmp_path / "c.webm", CLEAR) as out:
        for _ in range(5):
            out.write(image, np.zeros(FRAME_SAMPLES, np.int16))
    decoder = av.CodecContext.create("libvpx-vp9", "r")  # the one that reads opacity
    with av.open(str(tmp_path / "c.webm")) as container:
        frames = [f for packet in container.demux(video=0) if packet.size for f in decoder.decode(packet)]
    assert len(frames) == 5
    read = frames[-1].to_ndarray(format="rgba")
    for (y, x), opacity in {(20, 15): 0, (100, 60): 255, (30, 100): 128}.items():
        assert abs(int(read[y, x, 3]) - opacity) <= 4


def test_the_name_decides_the_format() -> None:
    assert check_clip(Path("a.WEBM"), CLEAR) is CLEAR
    with pytest.raises(ConfigError, match=r"must end in \.mp4 or \.webm"):
        check_clip(Path("a.avi"), SMALL)
    with pytest.raises(ConfigError, match="MP4 has no transparency"):
        check_clip(Path("a.mp4"), CLEAR)


def test_upright_frames(tmp_path: Path) -> None:
    shape = FrameFormat(256, Framing.PORTRAIT)
    with ClipWriter(tmp_path / "u.mp4", shape) as out:
        out.write(np.zeros(shape.shape, np.uint8), np.zeros(FRAME_SAMPLES, np.int16))
    with av.open(str(tmp_path / "u.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (144, 256)


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="128, 128"), ClipWriter(tmp_path / "x.mp4", SMALL) as out:
        out.write(np.zeros((32, 32, 3), np.uint8), np.zeros(FRAME_SAMPLES, np.int16))
