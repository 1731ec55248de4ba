"""Springs settle, offsets fade: no jumps."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.motion.smooth import FadingOffset, Spring


def test_a_spring_settles_in_its_time_without_overshoot() -> None:
    spring = Spring(1, settle_s=0.8)
    path = np.array([spring.step(np.array([1.0]))[0] for _ in range(40)])
    assert (np.diff(path) > 0).all() and path.max() <= 1.0
    assert path[9] < 0.95 and abs(path[20] - 1.0) < 0.015


@given(start=st.floats(-1, 1), speed=st.floats(-0.1, 0.1), frames=st.integers(2, 20))
@settings(max_examples=60, deadline=None)
def test_an_offset_fades_in_its_frames_with_continuous_velocity(start: float, speed: float, frames: int) -> None:
    fading = FadingOffset(np.array([frames]))
    zero = np.zeros(1, dtype=np.float32)
    shown = [start - speed, start]
    fading.apply(np.array([start - speed], dtype=np.float32), switched=False)
    fading.apply(np.array([start], dtype=np.float32), switched=False)
    shown += [float(fading.apply(zero, switched=k == 0)[0]) for k in range(frames + 3)]
    assert np.abs(np.array(shown[frames + 1 :])).max() < 1e-6
    velocity = np.diff(shown)
    # a cubic Hermite stop: its greatest acceleration is 6 x / n^2 + 4 v / n per frame
    bound = 6.5 * abs(start) / frames**2 + 4.5 * abs(speed) / frames + 1e-6
    assert np.abs(np.diff(velocity)).max() <= bound
