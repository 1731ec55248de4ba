"""A picture becomes an identity once: complete, cached under what it depends on, refused clearly when it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from avatar import identity as identity_module
from avatar.errors import PortraitError
from avatar.identity import code_version, default_portrait, load_identity, prepare_identity, prune
from avatar.portrait.models import cache_folder
from avatar.portrait.store import Identity
from avatar.rig.types import FittedRig
from config.settings import AvatarSettings
from tests.rig_samples import source_motion

MODELS = cache_folder() / "models"


@pytest.fixture
def settings(tmp_path: Path) -> AvatarSettings:
    """A cache of its own for identities; the model files stay where they are."""
    return AvatarSettings(cache_dir=tmp_path, models_dir=MODELS if MODELS.is_dir() else None)


def test_the_default_presenter_is_prepared_whole(settings: AvatarSettings) -> None:
    identity = prepare_identity(default_portrait(), settings=settings)
    assert identity.arrays["rgb_HW3"].shape == (512, 512, 3)
    rig = FittedRig.unpack(identity.arrays)
    assert np.abs(rig.deform(source_motion(rig)).skin_V3 - rig.rest_V3)[:, :2].max() < 0.05
    assert identity.meta["fit_px"]["snapped_median"] < 0.1
    assert identity.meta["prepared_by"] == code_version()
    assert any(name.startswith("render.") for name in identity.arrays)


def test_an_image_is_prepared_once_and_then_read(
    settings: AvatarSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "face.png"
    picture.write_bytes(default_portrait())
    first = load_identity(picture, settings)
    assert first.meta["source"] == "face.png"

    def refuse(*_: object, **__: object) -> Identity:
        raise AssertionError("prepared a second time")

    monkeypatch.setattr(identity_module, "prepare_identity", refuse)
    again = load_identity(picture, settings)
    assert np.array_equal(first.arrays["rig.rest_V3"], again.arrays["rig.rest_V3"])
    picture.write_bytes(default_portrait() + b"\0")  # other bytes: another key
    with pytest.raises(AssertionError, match="second time"):
        load_identity(picture, settings)


def test_a_damaged_cache_entry_is_prepared_again(settings: AvatarSettings) -> None:
    load_identity("default", settings)
    (entry,) = (cache_folder(settings) / "identities").glob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:1000])
    assert "rig.rest_V3" in load_identity("default", settings).arrays
    assert "rig.rest_V3" in Identity.load(entry).arrays


def test_saved_identities_load_from_their_file(settings: AvatarSettings, tmp_path: Path) -> None:
    identity = prepare_identity(default_portrait(), settings=settings)
    path = identity.save(tmp_path / "me.safetensors")
    loaded = load_identity(path)
    assert loaded.meta == identity.meta
    assert set(loaded.arrays) == set(identity.arrays)


def test_a_missing_portrait_is_named(settings: AvatarSettings, tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match=r"no portrait at .*nobody\.jpg") as caught:
        load_identity(tmp_path / "nobody.jpg", settings)
    assert caught.value.code == "not_found"


def test_a_cache_that_cannot_be_written_does_not_stop_anyone(settings: AvatarSettings, tmp_path: Path) -> None:
    (tmp_path / "identities").write_text("in the way")
    assert "rig.rest_V3" in load_identity("default", settings).arrays


def test_the_cache_keeps_what_was_used_last(settings: AvatarSettings, tmp_path: Path) -> None:
    folder = tmp_path / "identities"
    load_identity("default", settings)
    (used,) = folder.glob("*.safetensors")
    for age in range(1, 6):
        other = folder / f"{age}.safetensors"
        other.write_bytes(b"")
        os.utime(other, (1e9 - age, 1e9 - age))
    os.utime(used, (1, 1))
    load_identity("default", settings)  # read from the cache: now the newest
    prune(folder, keep=3)
    assert {file.name for file in folder.iterdir()} == {used.name, "1.safetensors", "2.safetensors"}
