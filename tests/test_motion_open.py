"""open_motion: the settings decide, and weights that cannot be used are refused with a way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar.clock import STREAM_RATE
from avatar.errors import AvatarError
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.open import open_motion
from avatar.motion.stream import MotionStream
from config.settings import AvatarSettings
from tests.test_motion_net import write_random


def test_articulation() -> None:
    motion = open_motion(AvatarSettings(motion="articulation", seed=3))
    assert isinstance(motion, MotionStream)
    same = open_motion(AvatarSettings(motion="articulation"), seed=3)
    np.testing.assert_array_equal(motion.next_motion(), same.next_motion())


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"nothing")
    for name in (str(broken), str(tmp_path / "absent.safetensors"), "base"):
        with pytest.raises(AvatarError, match="articulation") as refusal:
            open_motion(AvatarSettings(motion="diffusion", motion_model=name))
        assert refusal.value.code == "no_motion_model"


def test_diffusion_with_weights_of_ones_own(tmp_path: Path) -> None:
    """Two sessions with one network do not disturb each other, whatever the order of their frames."""
    model = str(write_random(tmp_path / "own.safetensors"))
    settings = AvatarSettings(motion="diffusion", motion_model=model, motion_steps=2, seed=5)
    alone, one, other = (open_motion(settings) for _ in range(3))
    assert isinstance(alone, DiffusionMotion)
    speech_S = np.random.default_rng(0).normal(0, 2000, STREAM_RATE).astype(np.int16)
    rows: dict[str, list[np.ndarray]] = {"alone": [], "one": []}
    alone.push_audio(speech_S)
    rows["alone"] = [alone.next_motion() for _ in range(30)]
    one.push_audio(speech_S)
    for _ in range(30):
        rows["one"].append(one.next_motion())
        other.next_motion()
    np.testing.assert_array_equal(rows["alone"], rows["one"])
    assert not np.array_equal(open_motion(settings, seed=6).next_motion(), rows["one"][0])
