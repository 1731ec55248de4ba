"""`visavis doctor` finds what is there, names what is missing, and never breaks itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent import doctor
from agent.bench import NAMES
from config import load


def findings(**overrides: object) -> dict[str, doctor.Finding]:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return {f.part: f for f in doctor.diagnose(load("kiosk", environ={}, overrides=keys).settings)}


def test_everything_is_looked_at() -> None:
    found = findings()
    assert {
        "machine",
        "torch",
        "portrait analysis",
        "portrait",
        "motion",
        "speech in",
        "speech out",
        "dialogue",
        "page",
        "port",
    } <= set(found)
    assert found["speech out"].status == "ok"
    assert "knowledge" in found["dialogue"].choice


def test_what_is_missing_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    found = findings(avatar__portrait="/nowhere.png", dialogue__backend="openai", avatar__models_dir=str(tmp_path))
    for part in ("portrait", "dialogue", "portrait analysis", "page"):
        assert found[part].status == "missing", part
        assert found[part].todo, part


def test_a_dialogue_that_cannot_answer_is_missing() -> None:
    settings = load("kiosk", environ={"VISAVIS_DIALOGUE__KNOWLEDGE_DIR": ""}).settings
    found = {f.part: f for f in doctor.diagnose(settings)}["dialogue"]
    assert (found.status, "knowledge_dir" in found.todo) == ("missing", True)


@pytest.mark.parametrize(
    ("url", "status"), [("", "missing"), ("http://bot", "missing"), ("ws://bot", "ok"), ("wss://bot/x", "ok")]
)
def test_a_websocket_needs_its_address(url: str, status: str) -> None:
    found = findings(dialogue__backend="websocket", dialogue__base_url=url, dialogue__api_key="k")["dialogue"]
    assert found.status == status
    assert ("wss://" in found.todo) == (status == "missing")


def test_a_look_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: object) -> list[doctor.Finding]:
        raise RuntimeError("lost its way")

    monkeypatch.setattr(doctor, "_torch", broken)
    assert any("lost its way" in f.why for f in findings().values())


def test_port_in_use_is_noticed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = findings(kiosk__port=taken.getsockname()[1])
    assert found["port"].status == "note"
    assert "--port" in found["port"].todo


def test_bench_names_are_kept_for_good() -> None:
    assert NAMES == (
        "decoder_cpu_ms_per_frame_512", "decoder_cpu_fps_512_2cores", "decoder_gpu_frames_per_s_512", "motion_cpu_rtf",
        "motion_first_frame_ms", "first_chunk_to_first_frame_ms", "turn_latency_ms_p50", "turn_latency_ms_p95",
        "av_offset_ms_p95", "loop_fps", "loop_late_frames_share",
    )  # fmt: skip


def test_the_motion_and_what_is_asked_of_it(tmp_path: Path) -> None:
    found = findings(avatar__motion="articulation", avatar__emotion="firm:0.3", avatar__gaze="5,-1")["motion"]
    assert (found.status, found.choice) == ("ok", "articulation")
    assert found.why == "emotion=firm:0.3 liveliness=0.6 gaze=5,-1 distance=1"
    broken = tmp_path / "mine.safetensors"
    broken.write_bytes(b"no weights at all")
    found = findings(avatar__motion="diffusion", avatar__motion_model=str(broken))["motion"]
    assert found.status == "missing" and "is no motion model" in found.why and "articulation" in found.todo
