"""`visavis render`: clips from text and from all kinds of sound files, and refusals that say what to do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soxr

from agent.shots import SETTLE_FRAMES
from avatar.clock import FPS
from avatar.motion import space
from avatar.motion.arkit import write_motion
from avatar.motion.capture import load_motion
from tests.speak import speak
from tests.test_cli import visavis


@pytest.fixture(scope="module")
def question_S() -> np.ndarray[Any, np.dtype[np.int16]]:
    return asyncio.run(speak("Hello there.", rate=16_000))


def write_sound(path: Path, pcm_SC: np.ndarray[Any, Any], rate: int, codec: str = "pcm_s16le") -> Path:
    """pcm int16 [samples, channels] as a file; the container follows from the name."""
    with av.open(str(path), "w") as container:
        layout = "stereo" if pcm_SC.shape[1] == 2 else "mono"
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm_SC.reshape(1, -1)), format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def render(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    report = folder / "report.json"
    code = visavis(
        monkeypatch, "render", "--size", "256", "--out", str(folder / "o.mp4"), "--json", str(report), *arguments
    )
    return code, json.loads(report.read_text()) if report.exists() else {}


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_text_becomes_a_clip_with_captions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, report = render(monkeypatch, tmp_path, "--text", "Hello. This is a test.", "--seed", "3")
    assert code == 0
    assert frames_in(tmp_path / "o.mp4") == report["frames"]
    captions = (tmp_path / "o.vtt").read_text()
    assert "Hello." in captions and "This is a test." in captions
    assert report["seed"] == 3
    assert not list(tmp_path.glob("*.part.mp4"))


def test_an_upright_clip_without_a_background(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "clear.webm"
    code, report = render(
        monkeypatch, tmp_path, "--text", "Hello.", "--framing", "portrait", "--background", "transparent",
        "--out", str(out),
    )  # fmt: skip
    assert code == 0 and (report["width"], report["height"]) == (144, 256)
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        assert video.metadata["alpha_mode"] == "1" and (video.width, video.height) == (144, 256)


def test_a_clip_that_cannot_be_transparent_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = render(monkeypatch, tmp_path, "--text", "Hello.", "--background", "transparent")
    assert code == 2 and "MP4 has no transparency" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "rate", "channels"), [("8k.wav", 8000, 1), ("stereo.wav", 44_100, 2), ("flac.flac", 16_000, 1)]
)
def test_sound_of_any_kind(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    question_S: np.ndarray[Any, Any],
    name: str,
    rate: int,
    channels: int,
) -> None:
    pcm_S = soxr.resample(question_S.astype(np.float32), 16_000, rate).astype(np.int16)
    sound = write_sound(
        tmp_path / name,
        np.repeat(pcm_S[:, None], channels, axis=1),
        rate,
        "flac" if name.endswith("flac") else "pcm_s16le",
    )
    code, report = render(monkeypatch, tmp_path, "--audio", str(sound))
    assert code == 0
    assert report["captions"] is None
    assert abs(report["frames"] / FPS - len(pcm_S) / rate - SETTLE_FRAMES / FPS) < 0.1


def test_silent_and_truncated_sound_is_rendered_with_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, question_S: np.ndarray[Any, Any]
) -> None:
    silent = write_sound(tmp_path / "silent.wav", np.zeros((16_000, 1), np.int16), 16_000)
    code, report = render(monkeypatch, tmp_path, "--audio", str(silent))
    assert code == 0 and any("silen" in warning for warning in report["warnings"])
    whole = write_sound(tmp_path / "whole.wav", question_S[:, None], 16_000)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    code, report = render(monkeypatch, tmp_path, "--audio", str(cut))
    assert code == 0 and report["warnings"]


@pytest.mark.parametrize("content", [b"", b"this is a letter, not a song\n" * 50, bytes(range(256)) * 20])
def test_what_is_no_sound_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    code, _ = render(monkeypatch, tmp_path, "--audio", str(path))
    assert code == 3
    assert "visavis:" in capsys.readouterr().err
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--audio", "/nowhere/x.wav"), 3, "x.wav"),
        (("--text", "   "), 3, "empty"),
        (("--text", "Hi", "--portrait", "/nowhere/me.jpg"), 3, "me.jpg"),
        (("--text", "Hi", "--size", "300"), 2, "avatar.size"),
        (("--text", "Hi", "--seed", "-1"), 2, "avatar.seed"),
    ],
)
def test_refusals(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    assert render(monkeypatch, tmp_path, *arguments)[0] == code
    assert message in capsys.readouterr().err


def test_out_must_be_a_writable_mp4(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visavis(monkeypatch, "render", "--text", "Hi", "--out", str(tmp_path / "o.avi")) == 2
    assert ".mp4" in capsys.readouterr().err
    assert visavis(monkeypatch, "render", "--text", "Hi", "--out", str(tmp_path / "no" / "o.mp4")) == 4
    assert "does not exist" in capsys.readouterr().err


def heads(path: Path) -> np.ndarray[Any, Any]:
    """Head yaw of a motion file."""
    return load_motion(path).motion_TD[:, space.INDEX["headYaw"]]


def test_a_clips_motion_drives_the_same_clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, again = tmp_path / "first.csv", tmp_path / "again.json"
    code, report = render(monkeypatch, tmp_path, "--text", "Hello there.", "--arkit", str(first))
    assert code == 0 and report["arkit"] == str(first)
    picture = last_picture(tmp_path / "o.mp4")
    code, driven = render(monkeypatch, tmp_path, "--drive", str(first), "--arkit", str(again), "--seed", "9")
    assert code == 0 and driven["frames"] == report["frames"] == frames_in(tmp_path / "o.mp4")
    np.testing.assert_allclose(load_motion(again).motion_TD, load_motion(first).motion_TD, atol=2e-7)
    assert np.abs(picture.astype(int) - last_picture(tmp_path / "o.mp4")).mean() < 0.5
    assert driven["warnings"] == [] and not list(tmp_path.glob("*.part.*"))


def last_picture(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][-1]


def test_a_capture_with_sound_lasts_as_long_as_the_longer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    turn_TD = np.zeros((20, space.DIM))
    turn_TD[:, [space.INDEX["headYaw"], space.INDEX["jawOpen"]]] = 0.15, 0.3
    take, out = tmp_path / "take.json", tmp_path / "out.csv"
    write_motion(take, turn_TD)
    sound = write_sound(tmp_path / "s.wav", np.full((36_000, 1), 3000, np.int16), 24_000)
    code, report = render(monkeypatch, tmp_path, "--drive", str(take), "--audio", str(sound), "--arkit", str(out))
    assert code == 0 and report["frames"] == 38
    assert "longer than the capture" in " ".join(report["warnings"])
    yaw_T = heads(out)
    np.testing.assert_allclose(yaw_T[:20], 0.15, atol=1e-6)
    assert np.abs(np.diff(yaw_T)).max() < 0.02 and abs(yaw_T[-1]) < 0.08  # glides to rest
    sound.unlink()
    write_sound(sound, np.full((4_800, 1), 3000, np.int16), 24_000)
    _, shorter = render(monkeypatch, tmp_path, "--drive", str(take), "--audio", str(sound))
    assert shorter["frames"] == 20 and shorter["warnings"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--drive", "none.csv"), 3, "no file"),
        (("--drive", "table.csv"), 3, "no columns of blendshapes"),
        (("--drive", "table.csv", "--text", "Hello."), 2, "--audio"),
        (("--text", "Hello.", "--arkit", "a.fbx"), 2, ".json"),
        (("--text", "Hello.", "--arkit", "nowhere/a.csv"), 4, "does not exist"),
    ],
)
def test_motion_files_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("name,age\nAnn,7\n")
    assert render(monkeypatch, tmp_path, *arguments)[0] == code
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
