"""Being alive: blinks, gaze, breathing, sway, and nods at the visitor's pauses.

Runs on the frame clock, whether or not anybody speaks, and is deterministic in (seed, calls). When it blinks, where
it looks and when it nods is decided in events.py.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.motion import space
from avatar.motion.events import Events
from avatar.motion.smooth import Spring
from avatar.motion.state import State as State

Floats = NDArray[np.float32]
_I: Final = space.INDEX
_DEG: Final = np.pi / 180.0


@dataclass(frozen=True, slots=True)
class _Pose:
    """How a state looks at rest: blendshape weights, head in degrees, `near` in log scale."""

    smile: float = 0.0
    brow_inner_up: float = 0.0
    brow_down: float = 0.0
    squint: float = 0.0
    near: float = 0.0
    raised_deg: float = 0.0
    tilt_deg: float = 0.0


_POSES: Final[dict[State, _Pose]] = {
    State.IDLE: _Pose(smile=0.07),
    State.LISTENING: _Pose(smile=0.09, brow_inner_up=0.07, near=0.012, tilt_deg=1.6),
    State.THINKING: _Pose(smile=0.02, brow_down=0.10, squint=0.06, raised_deg=1.0, tilt_deg=1.0),
    State.SPEAKING: _Pose(smile=0.05, brow_inner_up=0.03),
}


class Sway:
    """Slow, never repeating drift: sums of sinusoids with random phases, unit variance per channel."""

    def __init__(self, rng: np.random.Generator, width: int) -> None:
        self._hz = rng.uniform(0.05, 0.09, (width, 5)) * np.array([1.0, 1.9, 3.3, 5.2, 7.9])
        self._phase = rng.uniform(0.0, 2.0 * np.pi, (width, 5))
        weight = np.array([1.0, 0.8, 0.55, 0.3, 0.14])
        self._weight = weight / np.sqrt((weight**2).sum() / 2.0)

    def at(self, now_s: float) -> NDArray[np.float64]:
        """Values [width] at `now_s`."""
        value: NDArray[np.float64] = np.sin(2.0 * np.pi * self._hz * now_s + self._phase) @ self._weight
        return value


class Idle:
    """All motion that is not speech, one frame per step."""

    def __init__(self, seed: int) -> None:
        blink_rng, gaze_rng, sway_rng, nod_rng, self._rng = (
            np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)
        )
        self._events = Events(blink_rng, gaze_rng, nod_rng)
        self._sway = Sway(sway_rng, 9)
        self._breath_hz = float(self._rng.uniform(0.21, 0.27))
        self._breath_phase = float(self._rng.uniform(0.0, 2.0 * np.pi))
        self._pose = Spring(7, settle_s=0.9)
        self._follow = Spring(2, settle_s=0.7)
        self._tilt_side = 1.0
        self._frame = 0

    @property
    def state(self) -> State:
        """What the avatar is doing."""
        return self._events.state

    def set_state(self, state: State) -> None:
        """Change manner; poses glide over about a second."""
        if state is not self.state:
            self._tilt_side = float(self._rng.choice((-1.0, 1.0)))
            self._events.set_state(state)

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """The visitor's voice, int16 mono at 16 kHz: nods come at the pauses."""
        self._events.hear(pcm_S)

    def step(self, *, boundary: bool = False) -> Floats:
        """The next frame's motion, float32 [52]. `boundary`: a phrase of the avatar's own speech ends here."""
        now_s = (self._frame + 0.5) / FPS
        self._frame += 1
        moment = self._events.step(boundary=boundary)
        motion_D = space.neutral()
        gaze_2 = np.array(moment.gaze_deg)
        motion_D[space.GAZE] = gaze_2 * _DEG
        motion_D[_I["eyeBlinkLeft"]] = motion_D[_I["eyeBlinkRight"]] = moment.blink
        motion_D[_I["browDownLeft"]] = motion_D[_I["browDownRight"]] = 0.05 * moment.blink

        pose = _POSES[self.state]
        smile, inner, down, squint, near, raise_deg, tilt_deg = self._pose.step(
            np.array([*astuple(pose)[:-1], self._tilt_side * pose.tilt_deg])
        )
        sway = self._sway.at(now_s)
        smile = max(0.0, smile * (1.0 + 0.35 * sway[6]))
        motion_D[_I["mouthSmileLeft"]] = smile * 1.06
        motion_D[_I["mouthSmileRight"]] = smile * 0.94
        motion_D[_I["cheekSquintLeft"]] = motion_D[_I["cheekSquintRight"]] = 0.5 * smile
        motion_D[_I["browInnerUp"]] = max(0.0, inner + 0.02 * sway[7])
        for side in ("Left", "Right"):
            motion_D[_I["browOuterUp" + side]] = max(0.0, 0.5 * inner + 0.015 * sway[8])
            motion_D[_I["browDown" + side]] += down
            motion_D[_I["eyeSquint" + side]] = squint + 0.4 * smile

        follow_az, follow_el = self._follow.step(np.where(np.abs(gaze_2) > 2.5, 0.3 * gaze_2, 0.0))
        breath = np.sin(2.0 * np.pi * self._breath_hz * now_s + self._breath_phase)
        motion_D[_I["headYaw"]] = (0.9 * sway[0] + follow_az) * _DEG
        motion_D[_I["headPitch"]] = (0.55 * sway[1] + follow_el + 0.25 * breath + raise_deg - moment.nod_deg) * _DEG
        motion_D[_I["headRoll"]] = (0.55 * sway[2] + tilt_deg) * _DEG
        motion_D[_I["headX"]] = 0.005 * sway[3]
        motion_D[_I["headY"]] = 0.003 * sway[4] - 0.004 * breath
        motion_D[_I["headLogScale"]] = 0.004 * sway[5] + 0.002 * breath + near
        return motion_D
