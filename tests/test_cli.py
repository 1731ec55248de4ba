"""The command line: exit codes and messages that say what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from agent.cli import main
from avatar.identity import load_identity


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
