"""Being alive: blinks, gaze, breathing, sway, and nods at the visitor's pauses.

Runs on the frame clock, whether or not anybody speaks, and is deterministic in (seed, calls).
Blink statistics follow Bentivoglio et al. 1997 (about 17 a minute at rest, 26 in conversation) with
log-normal intervals; the shape (fast closing, slower opening, 150-250 ms) follows Caffier et al. 2003.
Gaze shares follow Lee, Badler and Badler 2002 ("Eyes alive"): listeners look at the speaker more than
speakers look at the listener.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.motion import space
from avatar.motion.nod import Nods
from avatar.motion.smooth import Spring

Floats = NDArray[np.float32]
_I: Final = space.INDEX
_DEG: Final = np.pi / 180.0


class State(StrEnum):
    """What the avatar is doing in the conversation."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a state looks: resting expression, blink rate and where the eyes go."""

    pose: dict[str, float]
    blink_median_s: float
    contact: float
    fixation_median_s: float


_MANNERS: Final[dict[State, _Manner]] = {
    State.IDLE: _Manner({"smile": 0.07}, 3.4, 0.80, 1.6),
    State.LISTENING: _Manner({"smile": 0.09, "browInnerUp": 0.07, "near": 0.012, "tilt": 1.6}, 3.9, 0.94, 2.4),
    State.THINKING: _Manner(
        {"smile": 0.02, "browDown": 0.10, "squint": 0.06, "raise": 1.0, "tilt": 1.0}, 3.0, 0.25, 1.1
    ),
    State.SPEAKING: _Manner({"smile": 0.05, "browInnerUp": 0.03}, 2.3, 0.80, 1.5),
}


def blink_curve(t_s: float, close_s: float, hold_s: float, open_s: float) -> float:
    """Lid closure 0..1 at `t_s` after a blink's start: cosine down, hold, slower cosine up."""
    if t_s <= 0.0 or t_s >= close_s + hold_s + open_s:
        return 0.0
    if t_s < close_s:
        return float(0.5 - 0.5 * np.cos(np.pi * t_s / close_s))
    if t_s < close_s + hold_s:
        return 1.0
    return float(0.5 + 0.5 * np.cos(np.pi * (t_s - close_s - hold_s) / open_s))


class Blinks:
    """Blinks at log-normal intervals, now and then a double one."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._next_s = float(rng.uniform(0.6, 2.5))
        self._shape = (0.08, 0.04, 0.12)
        self._start_s = -1.0

    def _draw_shape(self) -> tuple[float, float, float]:
        scale = float(self._rng.uniform(0.9, 1.2))
        return 0.07 * scale, 0.045, 0.11 * scale

    def step(self, now_s: float, median_s: float, *, invited: bool) -> float:
        """Closure 0..1 at `now_s`. `invited`: a large gaze shift or a phrase boundary makes a blink likely."""
        if invited and now_s - self._start_s > 0.9 and self._next_s - now_s > 0.12 and self._rng.random() < 0.4:
            self._next_s = now_s
        if now_s >= self._next_s:
            self._start_s, self._shape = self._next_s, self._draw_shape()
            interval_s = float(np.clip(median_s * np.exp(0.55 * self._rng.standard_normal()), 0.9, 9.0))
            if self._rng.random() < 0.08:
                interval_s = float(self._rng.uniform(0.32, 0.42))
            self._next_s = self._start_s + interval_s
        return blink_curve(now_s - self._start_s, *self._shape)


class Gaze:
    """Fixations and saccades: mostly at the visitor, small shifts between eyes and mouth, glances away."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._from_2 = np.zeros(2)
        self._to_2 = np.zeros(2)
        self._start_s, self._duration_s = 0.0, 0.04
        self._until_s = float(rng.uniform(0.8, 2.0))
        self.shifted_deg = 0.0

    def _target(self, state: State) -> NDArray[np.float64]:
        rng = self._rng
        if rng.random() < _MANNERS[state].contact:
            return rng.normal(0.0, (0.7, 0.45)) - (0.0, 0.2)
        side = rng.choice((-1.0, 1.0))
        if state is State.THINKING:
            return np.array([side * rng.uniform(5.0, 12.0), rng.uniform(2.0, 7.0)])
        if state is State.SPEAKING:
            return np.array([side * rng.uniform(3.0, 7.0), rng.uniform(-3.5, 2.0)])
        return np.array([side * rng.uniform(3.5, 9.0), rng.uniform(-3.0, 2.5)])

    def look_now(self) -> None:
        """End the fixation at the next step (the state has changed)."""
        self._until_s = min(self._until_s, self._start_s + self._duration_s)

    def step(self, now_s: float, state: State) -> NDArray[np.float64]:
        """Azimuth and elevation in degrees at `now_s`; `shifted_deg` is the size of a saccade starting now."""
        self.shifted_deg = 0.0
        if now_s >= self._until_s and now_s >= self._start_s + self._duration_s:
            self._from_2, self._to_2 = self._to_2, self._target(state)
            self.shifted_deg = float(np.hypot(*(self._to_2 - self._from_2)))
            self._start_s = now_s
            self._duration_s = 0.045 + 0.004 * self.shifted_deg
            away = float(np.hypot(*self._to_2)) > 2.5
            median_s = 0.7 if away else _MANNERS[state].fixation_median_s
            self._until_s = now_s + float(np.clip(median_s * np.exp(0.5 * self._rng.standard_normal()), 0.3, 5.0))
        s = float(np.clip((now_s - self._start_s) / self._duration_s, 0.0, 1.0))
        ease = s * s * s * (10.0 - 15.0 * s + 6.0 * s * s)
        at_2: NDArray[np.float64] = self._from_2 + ease * (self._to_2 - self._from_2)
        return at_2


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
        self._blinks = Blinks(blink_rng)
        self._gaze = Gaze(gaze_rng)
        self._sway = Sway(sway_rng, 9)
        self._nods = Nods(nod_rng)
        self._breath_hz = float(self._rng.uniform(0.21, 0.27))
        self._breath_phase = float(self._rng.uniform(0.0, 2.0 * np.pi))
        self._pose = Spring(7, settle_s=0.9)
        self._follow = Spring(2, settle_s=0.7)
        self._tilt_side = 1.0
        self._frame = 0
        self.state = State.IDLE

    def set_state(self, state: State) -> None:
        """Change manner; poses glide over about a second."""
        if state is not self.state:
            self.state = state
            self._tilt_side = float(self._rng.choice((-1.0, 1.0)))
            self._gaze.look_now()

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """The visitor's voice, int16 mono at 16 kHz: nods come at the pauses."""
        self._nods.hear(pcm_S)

    def step(self, *, boundary: bool = False) -> Floats:
        """The next frame's motion, float32 [52]. `boundary`: a phrase of the avatar's own speech ends here."""
        now_s = (self._frame + 0.5) / FPS
        self._frame += 1
        manner = _MANNERS[self.state]
        motion_D = space.neutral()

        gaze_2 = self._gaze.step(now_s, self.state)
        motion_D[space.GAZE] = gaze_2 * _DEG
        closed = self._blinks.step(now_s, manner.blink_median_s, invited=boundary or self._gaze.shifted_deg > 6.0)
        motion_D[_I["eyeBlinkLeft"]] = motion_D[_I["eyeBlinkRight"]] = closed
        motion_D[_I["browDownLeft"]] = motion_D[_I["browDownRight"]] = 0.05 * closed

        pose = manner.pose
        smile, inner, down, squint, near, raise_deg, tilt_deg = self._pose.step(
            np.array(
                [pose.get(key, 0.0) for key in ("smile", "browInnerUp", "browDown", "squint", "near", "raise")]
                + [self._tilt_side * pose.get("tilt", 0.0)]
            )
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
        nod_deg = self._nods.step()
        motion_D[_I["headYaw"]] = (0.9 * sway[0] + follow_az) * _DEG
        motion_D[_I["headPitch"]] = (0.55 * sway[1] + follow_el + 0.25 * breath + raise_deg - nod_deg) * _DEG
        motion_D[_I["headRoll"]] = (0.55 * sway[2] + tilt_deg) * _DEG
        motion_D[_I["headX"]] = 0.005 * sway[3]
        motion_D[_I["headY"]] = 0.003 * sway[4] - 0.004 * breath
        motion_D[_I["headLogScale"]] = 0.004 * sway[5] + 0.002 * breath + near
        return motion_D
