"""The command line: exit codes and messages that say what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from agent.cli import main
from avatar.identity import load_identity
from avatar.motion import space
from avatar.motion.capture import load_motion


def visavis(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["visavis", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        main()
    code = stopped.value.code
    return code if isinstance(code, int) else 0


def test_unknown_profile(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert visavis(monkeypatch, "run", "--profile", "kisok") == 2
    assert "Did you mean 'kiosk'" in capsys.readouterr().err


def test_unknown_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert visavis(monkeypatch, "config", "show", "--set", "kiosk.prot=1") == 2
    assert "kiosk.port" in capsys.readouterr().err


def test_set_needs_a_value(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert visavis(monkeypatch, "config", "show", "--set", "kiosk.port") == 2
    assert "KEY=VALUE" in capsys.readouterr().err


def test_config_show_names_sources_and_hides_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISAVIS_DIALOGUE__API_KEY", "hunter2")
    report = tmp_path / "r.json"
    assert visavis(monkeypatch, "config", "show", "--set", "kiosk.port=1234", "--json", str(report)) == 0
    rows = json.loads(report.read_text())
    assert rows["kiosk.port"] == {"value": "1234", "from": "command line"}
    assert rows["dialogue.api_key"]["from"] == "environment VISAVIS_DIALOGUE__API_KEY"
    assert "hunter2" not in report.read_text() + capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("render", "--out", "x.mp4"),
        ("render", "--out", "x.mp4", "--audio", "a.wav", "--text", "b"),
        ("bench", "dekoder"),
        ("render",),
        ("dance",),
    ],
)
def test_wrong_usage(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    assert visavis(monkeypatch, *arguments) == 2


def test_a_portrait_is_prepared_once_and_used_as_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, identity = tmp_path / "nasa.png", tmp_path / "nasa.safetensors"
    Image.fromarray(skimage.data.astronaut()).save(picture)
    assert visavis(monkeypatch, "portrait", "prepare", str(picture), "--out", str(identity)) == 0
    picture.unlink()
    assert load_identity(identity).size == 512
    assert visavis(monkeypatch, "portrait", "prepare", str(picture), "--out", str(identity)) == 3
    assert visavis(monkeypatch, "portrait", "prepare", str(picture), "--out", "x.npz") == 2
    assert ".safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--emotion", "angry", "avatar.emotion' (command line): unknown emotion 'angry': use one of neutral, warm"),
        ("--emotion", "warm:2", "0 (none) to 1 (full)"),
        ("--liveliness", "wild", "composed, usual or animated"),
        ("--gaze", "40,0", "at most 20 degrees"),
        ("--distance", "0.1", "0.78 to 1.28"),
        ("--motion", "magic", "'diffusion' or 'articulation'"),
    ],
)
def test_what_cannot_be_asked_of_the_motion_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str, told: str
) -> None:
    assert visavis(monkeypatch, "render", "--out", "x.mp4", "--text", "Hello.", option, value) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")


def test_a_clip_looks_where_it_is_told_and_its_captions_hold_no_tags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clip, motion = tmp_path / "clip.mp4", tmp_path / "motion.json"
    text = "Look at me. {gaze=15,0 emotion=happy:0.8}Now look at the picture over there, please, for a while."
    arguments = ("--motion", "articulation", "--emotion", "neutral", "--gaze", "-10,0", "--distance", "near")
    assert visavis(
        monkeypatch, "render", "--text", text, "--out", str(clip), "--arkit", str(motion), *arguments,
        "--set", "avatar.size=256", "--set", "speech.tts=flite",
    ) == 0  # fmt: skip
    assert "{" not in (tmp_path / "clip.vtt").read_text()
    motion_TD = load_motion(motion, centre=False).motion_TD
    azimuth_T = np.degrees(motion_TD[:, space.INDEX["gazeAzimuth"]])
    assert np.median(azimuth_T[:15]) == pytest.approx(-10, abs=4)
    assert np.percentile(azimuth_T, 90) == pytest.approx(15, abs=4)
    smile_T = motion_TD[:, space.INDEX["mouthSmileLeft"]]
    assert smile_T[50:80].mean() > smile_T[:15].mean() + 0.25
    assert motion_TD[:, space.INDEX["headLogScale"]].mean() > 0.08
