"""Voices of Coqui TTS (`coqui-tts`, an optional extra): the operator's own model, or a downloaded one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from agent.speech.errors import SpeechError

INSTALL_HINT = "Install it with: pip install 'visavis[coqui]' (docs/speech.md says more)."


def installed() -> bool:
    """Whether the package is there (not whether it loads)."""
    return importlib.util.find_spec("TTS") is not None


def find_model(name_or_path: str) -> tuple[Path, Path]:
    """(model file, config file) of a model; never touches the network. Raises SpeechError saying what to do."""
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        folder = cache_folder() / name_or_path.replace("/", "--")
    if not folder.is_dir():
        raise SpeechError(
            "model_missing",
            f"The Coqui model '{name_or_path}' is not on this machine.",
            "Give a folder with a model file (.pth) and config.json, or, where the network allows, fetch it once with: "
            f"tts --model_name {name_or_path} --text hello --out_path /dev/null",
        )
    models = sorted(folder.glob("*.pth"), key=lambda path: (path.name != "model.pth", "speaker" in path.name, path))
    config = folder / "config.json"
    if not models or not config.is_file():
        raise SpeechError(
            "model_missing", f"{folder} holds no Coqui model.", "A model file (.pth) and config.json are needed."
        )
    return models[0], config


def cache_folder() -> Path:
    """Where Coqui TTS keeps what it has downloaded."""
    from os import environ

    home = environ.get("TTS_HOME") or environ.get("XDG_DATA_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".local" / "share") / "tts"
