"""Damaged and hostile picture files: `portrait check` answers every one, soon, and in its own words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from avatar.portrait.check import check_portrait
from avatar.portrait.models import load_models
from scripts.fuzz_portrait import DAMAGE, mutated, sources

ROOT = Path(__file__).parent.parent
COUNT = 500
SECONDS = 150
"""Less than pytest's own limit for a test (pyproject.toml), which could not say what hung."""
EXPECTED_ON_STDERR = ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], str, int]:
    """One process of its own for all files: a decoder that crashes takes it along, one that hangs is ended."""
    load_models()  # so that the time bound is not spent on fetching them
    report = tmp_path_factory.mktemp("fuzz") / "report.json"
    command = [sys.executable, "-m", "scripts.fuzz_portrait", "--count", str(COUNT), "--json", str(report)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode in {0, 1} and report.is_file(), f"crash or hang:\n{done.stdout}\n{done.stderr[-3000:]}"
    return json.loads(report.read_text()), done.stderr, done.returncode


def test_no_file_gets_through_to_an_exception(outcome: tuple[dict[str, object], str, int]) -> None:
    result, _, code = outcome
    assert result["failures"] == [] and code == 0
    counts = result["outcomes"]
    assert isinstance(counts, dict) and sum(counts.values()) == COUNT
    assert {"no_face", "corrupt", "truncated", "not_an_image", "too_many_pixels", "too_small"} <= set(counts)


def test_libraries_keep_their_remarks_to_themselves(outcome: tuple[dict[str, object], str, int]) -> None:
    _, stderr, _ = outcome
    said = [line for line in stderr.splitlines() if line.strip() and line not in EXPECTED_ON_STDERR]
    assert said == []


@pytest.mark.parametrize("number", [742, 1358, 2394, 2814])
def test_what_once_got_through(number: int) -> None:
    """GIFs whose later frames are damaged: counting the frames failed."""
    report = check_portrait(mutated(1, number)[0])
    assert not report.usable and report.code in {"corrupt", "truncated", "no_face"}


def test_the_files_are_the_same_every_time_and_of_every_kind() -> None:
    assert mutated(3, 17) == mutated(3, 17) and mutated(3, 17) != mutated(4, 17)
    done = " ".join(mutated(0, number)[2] for number in range(COUNT))
    assert all(damage.__name__ in done for damage in DAMAGE) and all(name in done for name in sources())
    kinds = {name.split()[0] for name in sources()}
    assert {"jpeg", "png", "webp", "gif", "tiff", "bmp", "avif"} <= kinds
