"""The motion network as a live stream: windows of a few frames, made as they are needed.

Time is the display's: every call of `next_motion` is one frame, speech where speech is ready, else listening, thinking
or idling by the same network. A window of frames is made from the frames shown before it, from the sound, and from what
is asked and decided; it is shown as long as everything comes as foreseen. When it does not (speech starts or is
interrupted, the state or the controls change), a new window starts at the very next
frame. Deterministic: same seed, same calls, same motion; how sound was cut makes no difference.

Shape suffixes: D = 52, A = audio features, C = controls, U = ear features, P = past frames, N = frames made,
T = P + N, S = samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES
from avatar.motion import space
from avatar.motion.articulation import ARTICULATORS
from avatar.motion.controls import CONTROL_INDEX, CONTROLS, Asked
from avatar.motion.diffusion.features import SpeechFeatures, silent_row
from avatar.motion.diffusion.guard import Guard, lids_at_rest
from avatar.motion.diffusion.layout import AUDIO_COLUMNS, BLOCK, EAR, HEARD_LOOK, LOOK
from avatar.motion.diffusion.plan import Decider, SpeechQueue, Token, Window, plan_window
from avatar.motion.diffusion.seam import FrameNoise, cross_fade, draw_home, face_at_rest, spread, steady_head
from avatar.motion.ear import Ear
from avatar.motion.events import Events
from avatar.motion.state import State
from avatar.motion.stream import CLOSE_FRAMES, check_speech

Floats = NDArray[np.float32]
_GAZE: Final = [CONTROL_INDEX["gazeAzimuth"], CONTROL_INDEX["gazeElevation"]]
_PITCH: Final = space.INDEX["headPitch"]
_LEVEL: Final = AUDIO_COLUMNS["level"].start
_CLOSURE: Final = AUDIO_COLUMNS["artic"].start + ARTICULATORS.index("closure")
WARM_UP_FRAMES: Final = 25
"""Frames made before the first one is shown: from nothing at all the network takes a second to come to rest."""


class WindowNet(Protocol):
    """What makes windows of motion (numpy_net.py, or a seat at a batch: shared.py)."""

    @property
    def past(self) -> int:
        """Most past frames it is given."""

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        """Motion of the N frames after the P <= past shown ones, float32 [N, 52], not clamped; the last LOOK of them
        are drafts. Conditions are given for all T = P + N; noise is standard normal."""


class _Shown(NamedTuple):
    """One frame of the past as the network sees it."""

    motion_D: Floats
    audio_A: Floats
    control_C: Floats
    ear_U: Floats


class DiffusionMotion:
    """Streaming motion for one avatar by the motion network: 52 numbers per 40 ms frame (see motion/space.py).

    net: makes the windows. seed: same seed and same calls, same motion. features: hears the speech; None makes one
    with the shipped viseme network. block: frames made at once, 1 or more; more are cheaper and start later. warm_up:
    frames made before the first one is shown.
    """

    tail_frames: Final = CLOSE_FRAMES
    """Frames after a segment in which the mouth may still be closing."""
    works_ahead: Final = True

    def __init__(
        self, net: WindowNet, seed: int = 0, *, features: SpeechFeatures | None = None, block: int = BLOCK,
        warm_up: int = WARM_UP_FRAMES,
    ) -> None:  # fmt: skip
        if block < 1:
            raise ValueError(f"a block of {block} frames: use 1 or more.")
        noise_seed, *event_seeds = np.random.SeedSequence(seed).spawn(4)
        self._net = net
        self._features = features if features is not None else SpeechFeatures()
        self._block = block
        self._noise = FrameNoise(int(noise_seed.generate_state(1)[0]))
        self._decider = Decider(Events(*(np.random.default_rng(s) for s in event_seeds)), self._level)
        self._queue = SpeechQueue(block, LOOK)
        self._ear = Ear()
        self._asked = Asked()
        self._home_D, self._rest_lid = face_at_rest(self._asked), lids_at_rest(self._asked)
        self._spread_D = spread(self._asked)
        self._guard = Guard()
        self._frame = 0  # next display frame
        self._past: deque[_Shown] = deque(maxlen=max(1, net.past))
        self._window: Window | None = None
        self._prepared: Window | None = None
        self._silent_A = silent_row()
        self._cold_frames = warm_up

    @property
    def lookahead_samples(self) -> int:
        """Speech at 24 kHz that may have to lie beyond a frame before it is ready, unless its segment has ended."""
        return (self._block - 1 + LOOK) * FRAME_SAMPLES

    @property
    def state(self) -> State:
        """What the avatar is doing; set with `set_state`."""
        return self._decider.state

    def set_state(self, state: State) -> None:
        """Tell what the avatar is doing; frames of speech are always spoken as State.SPEAKING."""
        self._decider.state = state

    def set_controls(self, asked: Asked) -> None:
        """Ask for gaze, distance, emotions, liveliness and a resting style, from the next frame on."""
        self._asked = asked
        self._home_D, self._rest_lid = face_at_rest(asked), lids_at_rest(asked)
        self._spread_D = spread(asked)
        self._decider.set_controls(asked)

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """The visitor's voice, int16 mono at 16 kHz: the listening face goes with it, and nods at their pauses."""
        self._decider.hear(pcm_S)
        self._ear.hear(pcm_S)

    def push_audio(self, pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None = None) -> None:
        """Append speech; see Motion.push_audio. None for a segment's first phones: the viseme network listens."""
        check_speech(pcm_S, phones)
        if len(pcm_S) == 0 and not phones:
            return
        self._queue.push(len(pcm_S))
        self._features.push(pcm_S, phones)

    def end_segment(self) -> None:
        """This reply's speech is complete; without any speech since the last end this does nothing."""
        if not self._queue.open:
            return
        padding = self._queue.padding()
        if padding:
            self._queue.push(padding)
            self._features.push(np.zeros(padding, np.int16), [])
        self._features.end_segment()
        self._queue.end()

    def clear(self) -> None:
        """Forget all speech; the mouth closes within CLOSE_FRAMES without a jump in position or velocity."""
        self._queue.clear()
        self._features.reset()

    def ready_frames(self) -> int:
        """Speech frames that `next_motion` can give now: whole blocks, or all once the segment has ended."""
        return self._queue.ready()

    def prepare(self, *, hold: bool = False) -> None:
        """Make the next window now if the next frame needs one; changes no frame, whether called or not."""
        if self._cold_frames:  # what is asked until the first frame belongs to it
            return
        speech = self._next_speech(hold)
        if self._likely_foreseen(speech):
            return
        ahead = self._decider.fork()
        token = ahead.step(speech)
        if not self._foreseen(token):
            window = self._plan(token, ahead)
            if window != self._prepared:
                self._prepared = self._made(window)

    def next_motion(self, *, hold: bool = False) -> Floats:
        """The next frame, float32 [52], within the ranges of motion/space.py; see Motion.next_motion."""
        self._warm_up()
        token = self._decider.step(self._next_speech(hold))
        if not self._foreseen(token):
            self._begin(token)
        window = self._window
        assert window is not None
        at = self._frame - window.first
        shown_D = self._guard.apply(
            window.motion_ND[at],
            speech=token.speech is not None,
            blink=token.moment.blink,
            gaze_2=window.control_NC[at, _GAZE],
            rest_jaw=self._asked.rest_jaw_open,
            closure=float(window.audio_NA[at, _CLOSURE]),
            rest_lid=self._rest_lid,
        )
        self._past.append(_Shown(shown_D, window.audio_NA[at], window.control_NC[at], self._ear.frame()))
        self._frame += 1
        if token.speech is not None:
            self._queue.advance()
            self._features.forget(self._queue.cursor)
        nodding_D = shown_D.copy()  # the past that the network sees is its own
        nodding_D[_PITCH] -= np.radians(token.moment.nod_deg)
        return space.clamp(nodding_D)[0]

    def _warm_up(self) -> None:
        """Idle for a second that nobody sees, once; what is decided for the first frame is not touched."""
        if self._cold_frames == 0:
            return
        ahead, frame = self._decider.fork(), -self._cold_frames
        self._cold_frames = 0
        while frame < 0:
            window = self._made(self._plan_at(frame, ahead.step(None), ahead.fork()))
            for at in range(min(window.new, -frame)):
                token = ahead.step(None) if at else window.tokens[0]
                shown_D = self._guard.apply(window.motion_ND[at], speech=False, blink=token.moment.blink)
                self._past.append(_Shown(shown_D, window.audio_NA[at], window.control_NC[at], self._ear.frame()))
            frame += window.new

    def _next_speech(self, hold: bool) -> int | None:
        return None if hold or self._queue.ready() == 0 else self._queue.cursor

    def _level(self, frame: int) -> float:
        row_A = self._features.rows(frame, frame + 1, heard=frame + 1 + HEARD_LOOK, known=frame + 1 + LOOK)[0]
        return float(row_A[_LEVEL])

    def _foreseen(self, token: Token) -> bool:
        window = self._window
        return window is not None and window.expects(self._frame, token, self._queue.timeline, self._asked)

    def _likely_foreseen(self, speech: int | None) -> bool:
        """As `_foreseen`, without taking the step that decides."""
        window = self._window
        if window is None or self._frame - window.first >= window.new or window.asked != self._asked:
            return False
        token = window.tokens[self._frame - window.first]
        return token.speech == speech and (speech is not None or token.state is self._decider.state)

    def _plan(self, token: Token, ahead: Decider) -> Window:
        return self._plan_at(self._frame, token, ahead)

    def _plan_at(self, frame: int, token: Token, ahead: Decider) -> Window:
        return plan_window(frame, token, ahead, self._queue, self._asked, block=self._block, look=LOOK)

    def _begin(self, token: Token) -> None:
        """Start a window at this frame, going over from what is left of the last one."""
        window = self._plan(token, self._decider.fork())
        window = self._prepared if self._prepared is not None and self._prepared == window else self._made(window)
        self._prepared = None
        if self._window is not None:
            draft_ND, drafted = self._window.rest_from(self._frame)
            same_N = [(a.speech is None) == (b.speech is None) for a, b in zip(window.tokens, drafted, strict=False)]
            window.motion_ND = cross_fade(window.motion_ND, draft_ND, np.array(same_N, bool))
        if self._past:
            steady_head(window.motion_ND, self._past[-1].motion_D)
        self._window = window

    def _made(self, window: Window) -> Window:
        """The window with its conditions and its motion."""
        past = list(self._past)[-self._net.past :] if self._net.past else []
        count = len(window.tokens)
        audio_NA, control_NC = self._conditions(window)
        window.audio_NA, window.control_NC = audio_NA, control_NC
        ear_U = self._past[-1].ear_U if self._past else np.zeros(EAR, np.float32)
        motion_ND = self._net.sample(
            np.stack([p.motion_D for p in past]) if past else np.zeros((0, space.DIM), np.float32),
            np.concatenate([*(p.audio_A[None] for p in past), audio_NA]),
            np.concatenate([*(p.control_C[None] for p in past), control_NC]),
            np.concatenate([*(p.ear_U[None] for p in past), np.repeat(ear_U[None], count, 0)]),
            self._noise.rows(window.first, window.first + count) * self._spread_D,
        )
        assert motion_ND.shape == (count, space.DIM)
        window.motion_ND = np.nan_to_num(motion_ND, nan=np.nan, posinf=np.nan, neginf=np.nan)
        draw_home(window.motion_ND, self._home_D)
        return window

    def _conditions(self, window: Window) -> tuple[Floats, Floats]:
        """Audio rows [N, A] and control vectors [N, C] of the window's frames."""
        count = len(window.tokens)
        first = window.tokens[0].speech
        if first is None or window.speech_end is None:
            audio_NA = np.repeat(self._silent_A[None], count, 0)
        else:
            end = window.speech_end
            audio_NA = self._features.rows(first, first + count, heard=end + HEARD_LOOK, known=end + LOOK)
        control_NC = np.zeros((count, CONTROLS), np.float32)
        window.asked.fill(control_NC)
        for control_C, token in zip(control_NC, window.tokens, strict=True):
            gaze_2 = np.radians(token.moment.gaze_deg)
            control_C[_GAZE] = np.clip(gaze_2, space.LOW_D[space.GAZE], space.HIGH_D[space.GAZE])
            control_C[CONTROL_INDEX[token.state.value]] = 1.0
            control_C[CONTROL_INDEX["blink"]] = token.moment.blink
        return audio_NA, control_NC
