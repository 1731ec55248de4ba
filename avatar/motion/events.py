"""What is decided rather than computed: when to blink, where to look, when to nod.

One-step models average rare events away, so these are drawn by small explicit processes, once per display frame, and
shown by whoever moves the face: `Idle` with curves of its own, the diffusion transformer as a condition. Deterministic
in the seed and the calls.

Blink statistics follow Bentivoglio et al. 1997 (about 17 a minute at rest, 26 in conversation) with log-normal
intervals; the shape (fast closing, slower opening, 150-250 ms) follows Caffier et al. 2003. Gaze shares follow Lee,
Badler and Badler 2002 ("Eyes alive"): listeners look at the speaker more than speakers look at the listener.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.motion.controls import Asked
from avatar.motion.emotion import activity, dynamics
from avatar.motion.nod import Nods
from avatar.motion.state import State


@dataclass(frozen=True, slots=True)
class Manner:
    """How a state draws: seconds between blinks (median), share of fixations on the visitor, seconds of a fixation."""

    blink_median_s: float
    contact: float
    fixation_median_s: float


MANNERS: Final[dict[State, Manner]] = {
    State.IDLE: Manner(3.4, 0.80, 1.6),
    State.LISTENING: Manner(3.9, 0.94, 2.4),
    State.THINKING: Manner(3.0, 0.25, 1.1),
    State.SPEAKING: Manner(2.3, 0.80, 1.5),
}


MOST_NOD: Final = 1.5
"""Most that liveliness and emotions deepen a nod: deeper ones were never learned."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is decided for one frame.

    gaze_deg: azimuth and elevation of the eyes, in mid-saccade too; fixation_deg: where they are or are going.
    blink: lid closure 0..1. nod_deg: downward pitch of the head. shifted_deg: size of a saccade that starts now.
    """

    gaze_deg: tuple[float, float]
    fixation_deg: tuple[float, float]
    blink: float
    nod_deg: float = field(compare=False)  # a nod is laid over the network's motion: it changes no window
    shifted_deg: float


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
        self.rng = rng
        self._next_s = float(rng.uniform(0.6, 2.5))
        self._shape = (0.08, 0.04, 0.12)
        self._start_s = -1.0

    def _draw_shape(self) -> tuple[float, float, float]:
        scale = float(self.rng.uniform(0.9, 1.2))
        return 0.07 * scale, 0.045, 0.11 * scale

    def step(self, now_s: float, median_s: float, *, invited: bool) -> float:
        """Closure 0..1 at `now_s`. `invited`: a large gaze shift or a phrase boundary makes a blink likely."""
        if invited and now_s - self._start_s > 0.9 and self._next_s - now_s > 0.12 and self.rng.random() < 0.4:
            self._next_s = now_s
        if now_s >= self._next_s:
            self._start_s, self._shape = self._next_s, self._draw_shape()
            interval_s = float(np.clip(median_s * np.exp(0.55 * self.rng.standard_normal()), 0.9, 9.0))
            if self.rng.random() < 0.08:
                interval_s = float(self.rng.uniform(0.32, 0.42))
            self._next_s = self._start_s + interval_s
        return blink_curve(now_s - self._start_s, *self._shape)


class Gaze:
    """Fixations and saccades: mostly at the visitor, small shifts between eyes and mouth, glances away."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._from_2 = np.zeros(2)
        self._to_2 = np.zeros(2)
        self._start_s, self._duration_s = 0.0, 0.04
        self._until_s = float(rng.uniform(0.8, 2.0))
        self._main_deg = (0.0, 0.0)
        self._away = False
        self.shifted_deg = 0.0

    @property
    def fixation_deg(self) -> tuple[float, float]:
        """What is looked at: where the eyes are, or where a saccade is taking them."""
        return float(self._to_2[0]), float(self._to_2[1])

    def look_now(self, *, away: bool = False) -> None:
        """End the fixation at the next step (the state has changed). away: the next one leaves the visitor."""
        self._until_s = min(self._until_s, self._start_s + self._duration_s)
        self._away = away

    def face(self, main_deg: tuple[float, float]) -> None:
        """Where the visitor (or whatever is looked at) is: azimuth and elevation in degrees."""
        if main_deg != self._main_deg:
            self._main_deg = main_deg
            self.look_now()

    def step(self, now_s: float, state: State, glances: float = 1.0) -> NDArray[np.float64]:
        """Azimuth and elevation in degrees at `now_s`; `shifted_deg` is the size of a saccade starting now.

        glances: factor of how often the eyes leave what they look at.
        """
        self.shifted_deg = 0.0
        if now_s >= self._until_s and now_s >= self._start_s + self._duration_s:
            self._from_2, self._to_2 = self._to_2, self._main_deg + self._target(state, glances)
            self.shifted_deg = float(np.hypot(*(self._to_2 - self._from_2)))
            self._start_s = now_s
            self._duration_s = 0.045 + 0.004 * self.shifted_deg
            away = float(np.hypot(*(self._to_2 - self._main_deg))) > 2.5
            median_s = 0.7 if away else MANNERS[state].fixation_median_s
            self._until_s = now_s + float(np.clip(median_s * np.exp(0.5 * self.rng.standard_normal()), 0.3, 5.0))
        s = float(np.clip((now_s - self._start_s) / self._duration_s, 0.0, 1.0))
        ease = s * s * s * (10.0 - 15.0 * s + 6.0 * s * s)
        at_2: NDArray[np.float64] = self._from_2 + ease * (self._to_2 - self._from_2)
        return at_2

    def _target(self, state: State, glances: float) -> NDArray[np.float64]:
        rng = self.rng
        away = min((1.0 - MANNERS[state].contact) * glances, 0.9)
        must, self._away = self._away, False
        if rng.random() < 1.0 - away and not must:
            return rng.normal(0.0, (0.7, 0.45)) - (0.0, 0.2)
        side = rng.choice((-1.0, 1.0))
        if state is State.THINKING:
            return np.array([side * rng.uniform(5.0, 12.0), rng.uniform(2.0, 7.0)])
        if state is State.SPEAKING:
            return np.array([side * rng.uniform(3.0, 7.0), rng.uniform(-3.5, 2.0)])
        return np.array([side * rng.uniform(3.5, 9.0), rng.uniform(-3.0, 2.5)])


class Events:
    """Blinks, gaze and nods of one avatar, one `Moment` per display frame."""

    def __init__(
        self, blink_rng: np.random.Generator, gaze_rng: np.random.Generator, nod_rng: np.random.Generator
    ) -> None:
        self._blinks = Blinks(blink_rng)
        self._gaze = Gaze(gaze_rng)
        self._nods = Nods(nod_rng)
        self._frame = 0
        self._blink_rate = self._glances = self._nod_depth = 1.0
        self.state = State.IDLE

    def set_state(self, state: State) -> None:
        """Draw in another state's manner; the eyes move at once."""
        if state is not self.state:
            self.state = state
            self._gaze.look_now(away=state is State.THINKING)  # however short the thought, it shows

    def set_controls(self, asked: Asked) -> None:
        """Look where it is asked for; liveliness and emotions set how often to blink and glance, how deep to nod."""
        active = activity(asked.liveliness)
        manner = dynamics(asked.emotion_weights())
        self._blink_rate = manner.blinks * active**0.3
        self._glances = active**0.5
        self._nod_depth = min(active * manner.head, MOST_NOD)
        self._gaze.face((asked.gaze_azimuth_deg, asked.gaze_elevation_deg))

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """The visitor's voice, int16 mono at 16 kHz: nods come at the pauses."""
        self._nods.hear(pcm_S)

    def step(self, *, boundary: bool = False) -> Moment:
        """The next frame's decisions. `boundary`: a phrase of the avatar's own speech ends here."""
        now_s = (self._frame + 0.5) / FPS
        self._frame += 1
        azimuth, elevation = self._gaze.step(now_s, self.state, self._glances).tolist()
        shifted = self._gaze.shifted_deg
        median_s = MANNERS[self.state].blink_median_s / self._blink_rate
        blink = self._blinks.step(now_s, median_s, invited=boundary or shifted > 6.0)
        return Moment(
            (azimuth, elevation), self._gaze.fixation_deg, blink, self._nod_depth * self._nods.step(), shifted
        )

    def fork(self) -> Events:
        """A twin that will decide the same, for looking ahead; it must not be told what the visitor says."""
        twin = copy.copy(self)
        twin._blinks, twin._gaze, twin._nods = _twin(self._blinks), _twin(self._gaze), _twin(self._nods)
        return twin


class _Sampler(Protocol):
    rng: np.random.Generator


_S = TypeVar("_S", bound=_Sampler)


def _twin(sampler: _S) -> _S:
    """A copy with random numbers of its own; samplers replace what they hold, they never change it in place."""
    twin = copy.copy(sampler)
    bits = sampler.rng.bit_generator
    state, bits_twin = bits.state, type(bits)(0)
    bits_twin.state = state
    twin.rng = np.random.Generator(bits_twin)
    return twin
