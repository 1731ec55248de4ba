"""open_motion: the settings decide, and weights that cannot be used are refused with a way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar.errors import AvatarError
from avatar.motion.open import open_motion
from avatar.motion.stream import MotionStream
from config.settings import AvatarSettings


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
