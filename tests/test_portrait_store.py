"""Identities come back as they were saved; anything else is refused by name."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from avatar.errors import PortraitError
from avatar.portrait.analyse import analyse
from avatar.portrait.store import MAX_BYTES, VERSION, Identity
from tests.portrait_pictures import astronaut, portrait


def arrays(size: int = 64) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(3)
    return {
        "rgb_HW3": rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        "matte_HW": rng.random((size, size), np.float32),
        "landmarks_N3": rng.random((468, 3), np.float32),
        "iris_2K3": rng.random((2, 5, 3), np.float32),
        "eye_contour_2K3": rng.random((2, 71, 3), np.float32),
        "to_source_33": rng.random((3, 3)),
        "rig.triangles_T3": rng.integers(0, 9, (7, 3), dtype=np.int32),
    }


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return Identity(arrays(), {"name": "Ada", "seed": 3}).save(tmp_path / "ada.safetensors")


def refused(path: str | Path) -> str:
    with pytest.raises(PortraitError) as caught:
        Identity.load(path)
    assert caught.value.message and caught.value.hint
    return caught.value.code


def test_round_trip(tmp_path: Path) -> None:
    analysis = analyse(portrait(astronaut()))
    meta = {"warnings": analysis.warnings, "nested": {"é": [1, 2.5, None, True]}}
    identity = Identity({**analysis.pack(), "rig.face_width": np.array([3.5])}, meta)
    back = Identity.load(identity.save(tmp_path / "deep" / "me.safetensors"))
    assert back.meta == meta and back.size == 512 and back.arrays.keys() == identity.arrays.keys()
    for name, array in identity.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)
        assert back.arrays[name].dtype == array.dtype and back.arrays[name].flags.writeable
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["me.safetensors"]


def test_saving_is_whole_or_not_at_all(stored: Path, tmp_path: Path) -> None:
    before = stored.read_bytes()
    broken = arrays()
    broken["landmarks_N3"] = broken["landmarks_N3"][:100]
    with pytest.raises(PortraitError) as caught:
        Identity(broken).save(stored)
    assert caught.value.code == "bad_identity" and stored.read_bytes() == before
    with pytest.raises(PortraitError) as caught:
        Identity(arrays()).save(stored / "below" / "a file")
    assert caught.value.code == "not_writable"


def test_same_content_gives_the_same_bytes(stored: Path, tmp_path: Path) -> None:
    again = Identity(arrays(), {"name": "Ada", "seed": 3}).save(tmp_path / "again.safetensors")
    assert again.read_bytes() == stored.read_bytes()


def test_views_are_saved_as_they_look(tmp_path: Path) -> None:
    views = arrays()
    views["rgb_HW3"] = views["rgb_HW3"][:, ::-1]
    back = Identity.load(Identity(views).save(tmp_path / "view.safetensors"))
    np.testing.assert_array_equal(back.arrays["rgb_HW3"], views["rgb_HW3"])


def test_missing_folder_and_huge(tmp_path: Path) -> None:
    assert refused(tmp_path / "nobody.safetensors") == "not_found"
    assert refused(tmp_path) == "not_an_identity"
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert refused(tmp_path / "huge") == "not_an_identity"


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04\x95pickle", b"\xff" * 400, b"PK\x03\x04" + b"\0" * 60])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    assert refused(path) in {"corrupt", "not_an_identity"}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "not_an_identity"),
        ("no json", "not_an_identity"),
        ("[" * 100_000, "not_an_identity"),
        ("[]", "not_an_identity"),
        (json.dumps({"kind": "voice", "version": 1, "meta": {}}), "not_an_identity"),
        (json.dumps({"kind": "identity", "version": "1", "meta": {}}), "not_an_identity"),
        (json.dumps({"kind": "identity", "version": 1, "meta": []}), "not_an_identity"),
        ('{"kind": "identity", "version": 2, "meta": {"a": [NaN]}}', "not_an_identity"),
        (json.dumps({"kind": "identity", "version": VERSION + 1, "meta": {}}), "too_new"),
        (json.dumps({"kind": "identity", "version": VERSION - 1, "meta": {}}), "too_old"),
    ],
)
def test_other_safetensors_files(tmp_path: Path, header: str | None, code: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file(arrays(), path, metadata=None if header is None else {"visavis": header})
    assert refused(path) == code


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rgb_HW3", None),
        ("rgb_HW3", np.zeros((64, 32, 3), np.uint8)),
        ("rgb_HW3", np.zeros((64, 64, 3), np.float32)),
        ("rgb_HW3", np.zeros((8, 8, 3), np.uint8)),
        ("matte_HW", np.zeros((63, 64), np.float32)),
        ("landmarks_N3", np.zeros((478, 3), np.float32)),
        ("landmarks_N3", np.full((468, 3), np.nan, np.float32)),
        ("iris_2K3", np.zeros((2, 5, 3), np.float64)),
        ("to_source_33", None),
        ("rig.rest_V3", np.full((4, 3), np.inf, np.float32)),
        ("rig.complex", np.zeros(3, np.complex64)),
    ],
)
def test_wrong_arrays(tmp_path: Path, name: str, value: NDArray[Any] | None) -> None:
    content = arrays()
    content.pop(name, None)
    if value is not None:
        content[name] = value
    path = tmp_path / "wrong.safetensors"
    save_file(content, path, {"visavis": json.dumps({"kind": "identity", "version": VERSION, "meta": {}})})
    with pytest.raises(PortraitError) as caught:
        Identity.load(path)
    assert caught.value.code == "bad_identity" and name in caught.value.message


def test_cut_and_mutated_files_are_read_or_refused(stored: Path, tmp_path: Path) -> None:
    rng = random.Random("visavis store")
    original = stored.read_bytes()
    (header,) = struct.unpack("<Q", original[:8])
    path = tmp_path / "mutant.safetensors"
    refusals = 0
    for _ in range(300):
        content = bytearray(original)
        for _ in range(rng.choice([1, 2, 8])):
            content[rng.randrange(8 + header)] = rng.randrange(256)
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        path.write_bytes(content)
        try:
            Identity.load(path)
        except PortraitError as error:
            refusals += 1
            assert error.code in {"corrupt", "not_an_identity", "bad_identity", "too_new"}
    assert refusals > 150
