"""`visavis bench`: the kept names are always there, and the loop's server gets the settings it was asked to measure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agent.bench import NAMES, loop
from agent.errors import Unavailable
from config import load
from config.settings import Settings
from tests.test_cli import visavis


def loaded(profile: str = "kiosk", **overrides: object) -> Settings:
    return load(profile, overrides={key.replace("__", "."): value for key, value in overrides.items()}).settings


def test_motion_report_has_every_kept_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    assert visavis(monkeypatch, "bench", "motion", "--quick", "--json", str(report)) == 0
    figures = json.loads(report.read_text())
    assert set(NAMES) <= set(figures)
    for name in ("motion_cpu_rtf", "motion_first_frame_ms", "first_chunk_to_first_frame_ms", "motion_listening_rtf"):
        assert figures[name] > 0, name
    assert figures["decoder_cpu_ms_per_frame_512"] is None
    assert abs(figures["motion_session_growth_kb"]) < 300, "a session keeps what was said"


def test_the_server_gets_every_changed_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        "tutor",
        dialogue__api_key="hunter2",
        speech__barge_in=False,
        session__title="A = b",
        kiosk__allowed_origins=["x", "y"],
    )
    settings.dialogue.knowledge_dir = None
    arguments, variables = loop.forwarded(settings)
    assert "hunter2" not in " ".join(arguments)
    pairs = dict(pair.split("=", 1) for pair in arguments if pair != "--set")
    assert set(pairs) == {"speech.barge_in", "session.title", "kiosk.allowed_origins", "dialogue.knowledge_dir"}
    assert variables == {"VISAVIS_DIALOGUE__API_KEY": "hunter2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load("tutor", overrides=pairs).settings == settings


def test_nothing_is_forwarded_when_nothing_changed() -> None:
    assert loop.forwarded(loaded()) == ([], {})


def test_questions_come_from_the_folder_that_answers(tmp_path: Path) -> None:
    assert loop.questions_for(loaded()) == list(loop.QUESTIONS)
    (tmp_path / "a.md").write_text("# A\n## Why?\nAlso asked: how come; what for\nSo.\n## Topic\nText.\n")
    assert loop.questions_for(loaded(dialogue__knowledge_dir=tmp_path)) == ["Why?", "how come"]
    assert not set(loop.questions_for(loaded("tutor"))) & set(loop.QUESTIONS)


def test_no_question_to_ask_is_said(tmp_path: Path) -> None:
    settings = loaded()
    settings.dialogue.knowledge_dir = None
    with pytest.raises(Unavailable, match="loop bench needs a knowledge folder"):
        loop.questions_for(settings)
    (tmp_path / "a.md").write_text("only text\n")
    with pytest.raises(Unavailable, match="no question"):
        loop.questions_for(loaded(dialogue__knowledge_dir=tmp_path))


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    settings = loaded(avatar__portrait=str(tmp_path / "no.png"))
    with pytest.raises(Unavailable, match=r"no\.png"):
        async with loop._server(settings):
            pass


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\necho loading >&2\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(loop, "START_S", 0.5)
    with pytest.raises(Unavailable, match=r"not ready(?s:.*)loading"):
        async with loop._server(loaded()):
            pass
