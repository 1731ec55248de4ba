"""The teacher: the articulation model with a manner of its own, in a face that listens, thinks and feels.

Motion here is a function of the recorded conditions (controls, ear, speech) plus smooth randomness: what is abrupt is
decided by avatar/motion/events.py and written down as a control. Used by make_motion_corpus.py.

Shape suffixes: A = articulators, C = controls, D = 52, E = emotions, T = frames, U = ear features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES
from avatar.motion import space
from avatar.motion.articulation import (
    AHEAD_BINS,
    ARTICULATORS,
    BIN_SAMPLES,
    BINS_PER_FRAME,
    PAST_BINS,
    SPEECH_CHANNELS,
    UnitTrack,
    blend,
    to_motion,
)
from avatar.motion.controls import CONTROL_INDEX, CONTROLS, EMOTIONS, NOD_DEG, Asked
from avatar.motion.emotion import activity, dynamics, express
from avatar.motion.events import Events
from avatar.motion.heard import lips_heard
from avatar.motion.idle import Sway
from avatar.motion.prosody import Prosody
from avatar.motion.smooth import FadingOffset, Spring
from avatar.motion.state import State
from avatar.motion.stream import CLOSE_FRAMES, SETTLE_FRAMES
from avatar.motion.viseme_net import VisemeNet

Floats = NDArray[np.float32]
_I: Final = space.INDEX
_DEG: Final = np.pi / 180.0
_JAW: Final = [ARTICULATORS.index("jaw")]
_LIPS: Final = [ARTICULATORS.index(n) for n in ("round", "funnel", "spread", "upper", "lower")]
_MOVING: Final = [i for i, n in enumerate(ARTICULATORS) if n not in ("closure", "labiodental")]
_PAIRS: Final = [
    (_I[n], _I[n.replace("Left", "Right")]) for n in space.ARKIT_NAMES if n.endswith("Left") and "mouth" in n
]


@dataclass(frozen=True)
class Style:
    """How one person articulates and holds themselves.

    strength: reach of jaw and lips; jaw, lips: their balance; crispness: > 0 sharpens transitions, < 0 rounds them
    off; slant_D: factors of left and right channels; head, brows: size of speech-linked motion; sway: size of drift.
    """

    strength: float = 1.0
    jaw: float = 1.0
    lips: float = 1.0
    crispness: float = 0.0
    slant_D: Floats = field(default_factory=lambda: np.ones(space.DIM, np.float32))
    head: float = 1.0
    brows: float = 1.0
    sway: float = 1.0


def draw_style(rng: np.random.Generator) -> Style:
    """A random person."""
    balance = float(rng.normal(0.0, 0.10))
    slant_D = np.ones(space.DIM, np.float32)
    lean = rng.normal(0.0, 0.05)
    for left, right in _PAIRS:
        tilt = float(np.clip(lean + rng.normal(0.0, 0.03), -0.15, 0.15))
        slant_D[left], slant_D[right] = 1.0 + tilt, 1.0 - tilt
    return Style(
        strength=float(np.exp(rng.normal(0.0, 0.13))),
        jaw=float(np.exp(balance)),
        lips=float(np.exp(-balance)),
        crispness=float(np.clip(rng.normal(0.0, 0.22), -0.45, 0.45)),
        slant_D=slant_D,
        head=float(np.exp(rng.normal(0.0, 0.2))),
        brows=float(np.exp(rng.normal(0.0, 0.25))),
        sway=float(np.exp(rng.normal(0.0, 0.25))),
    )


@dataclass(frozen=True, slots=True)
class Spoken:
    """One frame of speech: articulators, effort (articulation.to_motion), head and brows, and whether a phrase ends."""

    value_A: Floats
    effort: float
    prosody_D: Floats
    boundary: bool


class Mouth:
    """A voice's articulation and prosody, a segment at a time."""

    def __init__(self, rng: np.random.Generator, style: Style, net: VisemeNet | None = None) -> None:
        """net: listens to speech without phone times."""
        self._prosody = Prosody(rng)
        self._style = style
        self._net = net
        self._frames = 0

    def interrupted(self) -> None:
        """Speech was cut: what the voice was about to do is forgotten."""
        self._prosody.reset()
        self._frames = 0

    def segment(self, pcm_S: NDArray[np.int16], phones: list[TimedPhone] | None) -> list[Spoken]:
        """Every frame of a reply (int16 at 24 kHz)."""
        pcm_S = np.concatenate([pcm_S, np.zeros(-len(pcm_S) % FRAME_SAMPLES, np.int16)])
        frames = len(pcm_S) // FRAME_SAMPLES
        first_bin = self._frames * BINS_PER_FRAME
        self._prosody.push(pcm_S)
        track = UnitTrack()
        if phones is None:
            assert self._net is not None, "speech without phone times needs the viseme network"
            posterior_BV = np.concatenate([self._net.push(pcm_S), self._net.flush()])
            track.add_visemes(lips_heard(posterior_BV, self._prosody.loudness, first_bin), 0)
        else:
            track.add_phones(phones, 0)
        bins = len(pcm_S) // BIN_SAMPLES
        value_TA = np.zeros((frames, len(ARTICULATORS)), np.float32)
        for t in range(frames):
            first = t * BINS_PER_FRAME
            window_BU = track.window(
                first - PAST_BINS, first + BINS_PER_FRAME + AHEAD_BINS, known=bins, silent_after=True
            )
            value_TA[t] = blend(window_BU)
        value_TA = self._in_style(value_TA)
        out = []
        for t in range(frames):
            effort = self._effort(first_bin + t * BINS_PER_FRAME)
            prosody_D, boundary = self._prosody.frame(self._frames + t)
            out.append(Spoken(value_TA[t], effort, prosody_D, boundary))
        self._frames += frames
        return out

    def _in_style(self, value_TA: Floats) -> Floats:
        style = self._style
        padded_TA = np.pad(value_TA, ((1, 1), (0, 0)), mode="edge")
        smooth_TA = 0.25 * padded_TA[:-2] + 0.5 * value_TA + 0.25 * padded_TA[2:]
        out_TA = value_TA.copy()
        out_TA[:, _MOVING] += (
            style.crispness * (value_TA - smooth_TA)[:, _MOVING] * (3.0 if style.crispness < 0 else 2.0)
        )
        out_TA[:, _JAW] *= style.strength * style.jaw
        out_TA[:, _LIPS] *= style.strength * style.lips
        return np.clip(out_TA, 0.0, 1.0)

    def _effort(self, first_bin: int) -> float:
        """As in model.ProceduralMotion: how far the mouth moves for the loudness around a frame."""
        around_B = self._prosody.loudness.relative(first_bin - 6, first_bin + BINS_PER_FRAME + 6)
        weight_B = np.hanning(len(around_B) + 2)[1:-1]
        level_db = float((np.maximum(around_B, -30.0) * weight_B).sum() / weight_B.sum())
        return float(np.clip(1.0 + 0.045 * level_db, 0.55, 1.35))


# Resting pose of each state: blendshape weights, head in degrees, near in log scale; `side` purses a mouth corner.
_POSE_KEYS: Final = ("smile", "inner", "outer", "down", "squint", "press", "side", "near", "raised", "tilt")
_POSES: Final[dict[State, dict[str, float]]] = {
    State.IDLE: {"smile": 0.08, "raised": -0.2},
    State.LISTENING: {"smile": 0.14, "inner": 0.05, "outer": 0.05, "near": 0.014, "tilt": 1.9, "raised": -0.3},
    State.THINKING: {"smile": 0.02, "down": 0.13, "squint": 0.08, "press": 0.10, "side": 0.05, "raised": 1.1,
                     "tilt": 1.2, "near": -0.006},
    State.SPEAKING: {"smile": 0.06, "inner": 0.04, "outer": 0.02, "near": 0.004},
}  # fmt: skip
# What a change of state looks like at first: a brow flash on starting to listen, a breath before speaking.
_ENTRANCES: Final[dict[State, tuple[float, float, float]]] = {  # brows, pitch in degrees, lift of the chest
    State.LISTENING: (0.14, 0.9, 0.0),
    State.SPEAKING: (0.08, 0.8, 0.006),
    State.THINKING: (0.0, 0.3, 0.003),
    State.IDLE: (0.0, -0.4, -0.004),
}
_ENTRANCE_FRAMES: Final = 16
_DEEPEST_NOD_DEG: Final = 1.5 * NOD_DEG
_POSTURE_STD: Final[dict[State, float]] = {
    State.IDLE: 0.8, State.LISTENING: 0.75, State.THINKING: 1.0, State.SPEAKING: 0.45,
}  # fmt: skip


def _bounded(factor: float) -> float:
    """A lively and happy person of a lively kind: factors of motion multiply, but not without end (2.1)."""
    return factor if factor <= 1.2 else 1.2 + 0.9 * float(np.tanh((factor - 1.2) / 0.9))


class Posture:
    """Now and then the head settles somewhere a little different: yaw, pitch, roll in degrees, x, y."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._spring = Spring(5, settle_s=1.3)
        self._target_5 = np.zeros(5)
        self._wait_s = float(rng.uniform(0.5, 4.0))

    def step(self, size: float, tempo: float) -> NDArray[np.float64]:
        """The next frame; size: of the shifts, tempo: how often they come."""
        self._wait_s -= tempo / FPS
        if self._wait_s <= 0.0:
            self._wait_s = float(np.clip(4.0 * np.exp(0.5 * self._rng.standard_normal()), 1.5, 12.0))
            self._target_5 = self._rng.normal(0.0, (2.2, 1.1, 1.3, 0.008, 0.004)) * size
        return self._spring.step(self._target_5).copy()


class Face:
    """One avatar, one display frame per step."""

    def __init__(self, rng: np.random.Generator, style: Style) -> None:
        blink_rng, gaze_rng, nod_rng, self._rng = rng.spawn(4)
        self._events = Events(blink_rng, gaze_rng, nod_rng)
        self._style = style
        self._sway = Sway(self._rng, 9)
        self._posture = Posture(self._rng)
        self._pose = Spring(len(_POSE_KEYS), settle_s=0.9)
        self._rest = Spring(6, settle_s=0.9)
        self._emotion = Spring(len(EMOTIONS), settle_s=0.9)
        self._near = Spring(1, settle_s=1.2)
        self._active = Spring(1, settle_s=0.9)
        self._active.value[:] = 1.0
        self._follow = Spring(2, settle_s=0.8)
        self._attention = Spring(3, settle_s=0.8)
        self._offset = FadingOffset(np.where(SPEECH_CHANNELS, CLOSE_FRAMES, SETTLE_FRAMES))
        self._breath_hz = float(self._rng.uniform(0.20, 0.27))
        self._breath = float(self._rng.uniform(0.0, 2.0 * np.pi))
        self._clock_s = 0.0  # runs faster and slower with the feeling
        self._side = float(self._rng.choice((-1.0, 1.0)))
        self._entered = -1
        self._frame = 0
        self._spoke = False

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """The visitor's voice, int16 at 16 kHz."""
        self._events.hear(pcm_S)

    def step(self, state: State, asked: Asked, ear_U: Floats, spoken: Spoken | None) -> tuple[Floats, Floats]:
        """The frame's motion [52] and the controls [C] that it answers."""
        if state is not self._events.state:
            self._events.set_state(state)
            self._side = float(self._rng.choice((-1.0, 1.0)))
            self._entered = self._frame
        self._events.set_controls(asked)
        moment = self._events.step(boundary=spoken is not None and spoken.boundary)
        nod_deg = min(moment.nod_deg, _DEEPEST_NOD_DEG)
        control_C = np.zeros(CONTROLS, np.float32)
        asked.fill(control_C)
        gaze_2 = np.clip(np.array(moment.gaze_deg) * _DEG, space.LOW_D[space.GAZE], space.HIGH_D[space.GAZE])
        control_C[CONTROL_INDEX["gazeAzimuth"]], control_C[CONTROL_INDEX["gazeElevation"]] = gaze_2
        control_C[CONTROL_INDEX[state.value]] = 1.0
        control_C[CONTROL_INDEX["blink"]] = moment.blink
        control_C[CONTROL_INDEX["nod"]] = nod_deg / NOD_DEG

        emotion_E = np.clip(self._emotion.step(np.array([getattr(asked, name) for name in EMOTIONS])), 0.0, 1.0)
        manner = dynamics(emotion_E.astype(np.float32))
        active = float(self._active.step(np.array([activity(asked.liveliness)]))[0])
        head = _bounded(active * manner.head * self._style.head)
        brows = _bounded(active * manner.brows * self._style.brows)
        self._clock_s += manner.tempo * (0.7 + 0.3 * active) / FPS

        motion_D = self._resting(state, asked, ear_U, brows)
        motion_D += self._head(state, asked, moment.gaze_deg, nod_deg, head, manner.tempo)
        motion_D += self._speech(spoken, asked.rest_jaw_open, head, brows, manner.speech)
        motion_D[space.GAZE] = gaze_2
        for side in ("Left", "Right"):
            motion_D[_I["eyeBlink" + side]] += moment.blink
            motion_D[_I["browDown" + side]] += 0.05 * moment.blink
        motion_D = np.maximum(motion_D, np.where(np.arange(space.DIM) < space.EXPRESSION_DIM, 0.0, -9.0))
        shown_D = express(motion_D.astype(np.float32), emotion_E.astype(np.float32))
        awake = 1.0 - moment.blink
        for side in ("Left", "Right"):
            shown_D[_I["eyeWide" + side]] *= awake
        self._frame += 1
        return shown_D, control_C

    def _resting(self, state: State, asked: Asked, ear_U: Floats, brows: float) -> Floats:
        """State, resting style and attention to the visitor: the slow part of the face."""
        pose = _POSES[state]
        smile, inner, outer, down, squint, press, side, near, raised, tilt = self._pose.step(
            np.array([pose.get(k, 0.0) * (self._side if k in ("side", "tilt") else 1.0) for k in _POSE_KEYS])
        )
        rest_6 = self._rest.step(
            np.array([asked.rest_smile, asked.rest_brow_inner_up, asked.rest_brow_down, asked.rest_squint,
                      asked.rest_jaw_open, asked.rest_roll_deg])
        )  # fmt: skip
        level, speaking, paused, phrase = (float(u) for u in ear_U)
        listening = 1.0 if state is State.LISTENING else 0.25
        attentive, agree, lean = self._attention.step(
            np.array([phrase * speaking, paused * min(1.0, 2.0 * phrase), level]) * listening
        )
        sway = self._sway.at(self._clock_s)
        smile = max(0.0, (smile + 0.08 * agree) * (1.0 + 0.35 * sway[6]) + rest_6[0])
        inner += 0.05 * attentive * brows + 0.04 * agree * brows + 0.02 * sway[7] * brows + rest_6[1]
        outer += 0.4 * inner + 0.04 * agree * brows + 0.015 * sway[8] * brows
        entering = (self._frame - self._entered) / _ENTRANCE_FRAMES if self._entered >= 0 else 1.0
        flash = float(np.sin(np.pi * min(entering, 1.0) ** 0.7) ** 2)
        flash_brow, flash_deg, flash_lift = (flash * x for x in _ENTRANCES[state])
        out_D = space.neutral()
        out_D[_I["mouthSmileLeft"]], out_D[_I["mouthSmileRight"]] = smile * 1.05, smile * 0.95
        out_D[_I["browInnerUp"]] = max(0.0, inner + flash_brow * brows)
        out_D[_I["mouthLeft"]], out_D[_I["mouthRight"]] = max(0.0, side), max(0.0, -side)
        for name in ("Left", "Right"):
            out_D[_I["cheekSquint" + name]] = 0.5 * smile
            out_D[_I["browOuterUp" + name]] = max(0.0, outer + 0.8 * flash_brow * brows)
            out_D[_I["browDown" + name]] = down + rest_6[2]
            out_D[_I["eyeSquint" + name]] = squint + 0.35 * smile + rest_6[3]
            out_D[_I["mouthPress" + name]] = press
        out_D[_I["jawOpen"]] = rest_6[4]
        out_D[_I["headPitch"]] = (raised + flash_deg - 0.5 * lean) * _DEG
        out_D[_I["headRoll"]] = (tilt + rest_6[5]) * _DEG
        out_D[_I["headY"]] = -flash_lift
        near += float(self._near.step(np.array([-np.log(asked.distance)]))[0])
        out_D[_I["headLogScale"]] = near + 0.006 * attentive
        return out_D

    def _head(
        self, state: State, asked: Asked, gaze_deg: tuple[float, float], nod_deg: float, head: float, tempo: float
    ) -> Floats:
        """Drift, posture, breath, nods, and following the eyes: a third of the way where one is asked to look."""
        main_2 = np.array((asked.gaze_azimuth_deg, asked.gaze_elevation_deg))
        glance_2 = np.array(gaze_deg) - main_2
        follow_az, follow_el = self._follow.step(0.35 * main_2 + np.where(np.abs(glance_2) > 2.5, 0.3 * glance_2, 0.0))
        sway = self._sway.at(self._clock_s) * head * self._style.sway
        yaw, pitch, roll, x, y = self._posture.step(_POSTURE_STD[state] * head, tempo)
        self._breath += 2.0 * np.pi * self._breath_hz * tempo / FPS
        breath = np.sin(self._breath)
        out_D = space.neutral()
        out_D[_I["headYaw"]] = (0.6 * sway[0] + yaw + follow_az) * _DEG
        out_D[_I["headPitch"]] = (0.4 * sway[1] + pitch + follow_el + 0.25 * breath - nod_deg) * _DEG
        out_D[_I["headRoll"]] = (0.4 * sway[2] + roll) * _DEG
        out_D[_I["headX"]] = 0.003 * sway[3] + x
        out_D[_I["headY"]] = 0.002 * sway[4] + y - 0.004 * breath
        out_D[_I["headLogScale"]] = 0.003 * sway[5] + 0.002 * breath
        return out_D

    def _speech(self, spoken: Spoken | None, rest_jaw: float, head: float, brows: float, reach: float) -> Floats:
        """Jaw, lips and tongue, and the head's and brows' strokes; closes within CLOSE_FRAMES when speech stops."""
        source_D = space.neutral()
        if spoken is not None:
            value_A = spoken.value_A.copy()
            value_A[_JAW + _LIPS] *= reach
            source_D = to_motion(value_A, spoken.effort) * self._style.slant_D
            sealed = source_D[_I["mouthClose"]] / max(float(source_D[_I["jawOpen"]]), 1e-6)
            # jaw and lips stay in step over a jaw that rests open: a seal closes that too
            source_D[_I["mouthClose"]] += sealed * rest_jaw
            strokes_D = spoken.prosody_D.copy()
            strokes_D[space.HEAD] *= head
            strokes_D[: space.EXPRESSION_DIM] *= brows
            source_D += strokes_D
        shown_D = self._offset.apply(source_D, switched=(spoken is not None) != self._spoke)
        self._spoke = spoken is not None
        return shown_D
