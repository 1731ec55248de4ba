"""Every kind of sound file is read or refused with a reason."""

from __future__ import annotations

import tracemalloc
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.audio.load import load_audio
from avatar.clock import STREAM_RATE
from avatar.errors import AudioError


def tone(seconds: float, rate: int) -> NDArray[np.int16]:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def write_wave(path: Path, pcm_S: NDArray[np.int16], rate: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(pcm_S, channels).tobytes())
    return path


def write_coded(path: Path, codec: str, rate: int, seconds: float = 2.0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        frame = av.AudioFrame.from_ndarray(tone(seconds, rate)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate, frame_size=stream.frame_size or 1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def frequency(pcm_S: NDArray[np.int16]) -> float:
    return float(np.abs(np.fft.rfft(pcm_S)).argmax() * STREAM_RATE / len(pcm_S))


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (8000, 2), (16000, 1), (22050, 2), (44100, 2), (48000, 6)])
def test_any_rate_and_channels_become_24k_mono(tmp_path: Path, rate: int, channels: int) -> None:
    file = load_audio(write_wave(tmp_path / "a.wav", tone(2.5, rate), rate, channels))
    pcm_S = np.concatenate(list(file))
    assert abs(len(pcm_S) - 2.5 * STREAM_RATE) < 0.01 * STREAM_RATE
    assert pcm_S.dtype == np.int16 and abs(frequency(pcm_S) - 440) < 2
    assert file.warnings == []


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.flac", "flac", 44100), ("a.mp3", "mp3", 44100), ("a.m4a", "aac", 48000), ("a.ogg", "libopus", 48000)],
)
def test_coded_files(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    pcm_S = np.concatenate(list(load_audio(write_coded(tmp_path / name, codec, rate))))
    assert abs(len(pcm_S) / STREAM_RATE - 2.0) < 0.1 and abs(frequency(pcm_S) - 440) < 3


def refused(path: Path) -> AudioError:
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    assert caught.value.hint and (path.name in str(caught.value))
    return caught.value


def test_refusals(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.wav").code == "not_found"
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert refused(empty).code == "empty"
    assert refused(write_wave(tmp_path / "short.wav", tone(0, 8000), 8000)).code == "empty"
    text = tmp_path / "text.wav"
    text.write_text("these are words, not sounds\n" * 50)
    assert refused(text).code == "not_audio"
    blob = tmp_path / "blob.mp3"
    blob.write_bytes(np.random.default_rng(0).bytes(40_000))
    assert refused(blob).code in {"not_audio", "truncated"}


def test_video_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), format="rgb24")
        for _ in range(5):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert refused(path).code == "no_audio_stream"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_truncated_files_are_read_as_far_as_they_go(tmp_path: Path, name: str) -> None:
    if name == "a.wav":
        path = write_wave(tmp_path / name, tone(4, 16000), 16000)
    else:
        path = write_coded(tmp_path / name, name[2:], 44100, seconds=4.0)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    file = load_audio(path)
    seconds = sum(len(chunk_S) for chunk_S in file) / STREAM_RATE
    assert 1.5 < seconds < 2.5
    assert len(file.warnings) == 1 and "truncated" in file.warnings[0]


def test_truncated_beyond_use_is_refused(tmp_path: Path) -> None:
    path = write_coded(tmp_path / "a.m4a", "aac", 48000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])  # the index, at the end, is lost
    assert refused(path).code == "truncated"


def test_silence_is_allowed_with_a_warning(tmp_path: Path) -> None:
    file = load_audio(write_wave(tmp_path / "s.wav", np.zeros(16000, dtype=np.int16), 16000))
    assert sum(len(chunk_S) for chunk_S in file) == STREAM_RATE
    assert "silent" in file.warnings[0]


def test_eight_hours_are_streamed(tmp_path: Path) -> None:
    """An eight-hour file (sparse, 8 kHz, 460 MB) opens at once and costs little memory."""
    path = write_wave(tmp_path / "long.wav", tone(1, 8000), 8000)
    data_bytes = 8 * 3600 * 8000 * 2
    with path.open("r+b") as file:
        file.seek(4)
        file.write((data_bytes + 36).to_bytes(4, "little"))
        file.seek(40)
        file.write(data_bytes.to_bytes(4, "little"))
        file.truncate(44 + data_bytes)
    tracemalloc.start()
    audio = load_audio(path)
    assert audio.duration_s == pytest.approx(8 * 3600)
    seconds = 0.0
    for chunk_S in audio:
        assert len(chunk_S) <= STREAM_RATE
        seconds += len(chunk_S) / STREAM_RATE
        if seconds >= 600:
            break
    audio.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds >= 600 and peak < 20e6
