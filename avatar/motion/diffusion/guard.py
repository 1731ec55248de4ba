"""What no network may do to a face: the rules between the motion that was made and the motion that is shown.

- A number that is none is the last one again; all stay inside motion/space.py; head and jaw keep to human speed.
- Without speech the mouth does not open, and what was open closes within CLOSE_FRAMES, velocity continuous.
- Lips that nearly meet meet: a P, B or M that stays open by a little is seen.
- Eyes look where it was decided (a glance is over in two frames: too rare and too quick to be left to an average).
- A blink that was decided on closes the eyes, and lids that no blink is holding open.

Shape suffix: D = 52.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.articulation import SPEECH_CHANNELS
from avatar.motion.controls import Asked
from avatar.motion.emotion import offset_D
from avatar.motion.smooth import FadingOffset
from avatar.motion.stream import CLOSE_FRAMES

Floats = NDArray[np.float32]
_I: Final = space.INDEX
_JAW, _CLOSE = _I["jawOpen"], _I["mouthClose"]
_LIDS: Final = [_I["eyeBlinkLeft"], _I["eyeBlinkRight"]]

_STEMS: Final = (
    "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLowerDown", "mouthUpperUp", "mouthStretch",
    "tongueHeight",
)  # fmt: skip
OPENING: Final = [i for i, name in enumerate(space.NAMES) if name.startswith(_STEMS)]
"""What parts the lips or is speech by itself; smiles, frowns and presses may stay without speech."""

_LIPS: Final = np.flatnonzero(SPEECH_CHANNELS)


def _speed() -> Floats:
    """Most that a channel may change in a frame: faster than people are, slower than an error looks."""
    speed_D = np.full(space.DIM, 1.0, np.float32)
    speed_D[_JAW] = speed_D[_CLOSE] = 0.2
    for name in ("headYaw", "headPitch", "headRoll"):
        speed_D[_I[name]] = np.radians(2.0)
    for name in ("headX", "headY", "headLogScale"):
        speed_D[_I[name]] = 0.02
    for i, name in enumerate(space.ARKIT_NAMES):
        if name.startswith("brow"):
            speed_D[i] = 0.25
    return speed_D


MOST_PER_FRAME_D: Final = _speed()

_NEARLY, _MET = 0.60, 0.85
_BLINKING: Final = 0.15
_SHUTTING, _SHUT = 0.6, 0.9
"""From here on the lids follow a blink that was asked for, and here they follow it all the way: they must meet."""
_LID_CAPS: Final = (1.0, 1.0, 0.75, 0.45, 0.25, 0.12)
"""Highest lid closure 0, 1, 2 ... frames after a blink was last asked for, beyond what the feelings ask of the lids."""

_GAZE_SHARE: Final = 0.5
_GAZE_FREE: Final = float(np.radians(1.0))
"""The network's own eye movement is shown by half, and to this much of it."""


def lids_at_rest(asked: Asked) -> float:
    """How far the emotions that are asked for close the lids, 0..1."""
    return float(offset_D(asked.emotion_weights())[_LIDS].max())


def seal(motion_D: Floats, closure: float = 0.0) -> None:
    """Close lips that nearly meet, in place: the share of the jaw's opening that the lips make good, from _NEARLY to
    _MET, becomes a whole one. It never exceeds the opening.

    closure: how closed the lips are by phone times or by what the viseme network hears, 0..1: a contact, not a style.
    """
    jaw = float(motion_D[_JAW])
    share = min(max(float(motion_D[_CLOSE]) / max(jaw, 1e-6), closure, 0.0), 1.0)
    s = min(max((share - _NEARLY) / (_MET - _NEARLY), 0.0), 1.0)
    motion_D[_CLOSE] = jaw * (share + (1.0 - share) * s * s * (3.0 - 2.0 * s))


class Guard:
    """Applies the rules to one frame after another."""

    def __init__(self) -> None:
        self._offset = FadingOffset(np.full(len(_LIPS), CLOSE_FRAMES))
        self._shown_D: Floats | None = None
        self._speaking = False
        self._since_blink = len(_LID_CAPS)

    def apply(
        self, made_D: Floats, *, speech: bool, blink: float, gaze_2: Floats | None = None, rest_jaw: float = 0.0,
        closure: float = 0.0, rest_lid: float = 0.0,
    ) -> Floats:  # fmt: skip
        """The frame to show, float32 [52].

        speech: it is a frame of speech. blink: the lid closure that was decided on. gaze_2: the azimuth and elevation
        that were, radians; None: the network's. rest_jaw: jawOpen at rest. closure: see `seal`.
        rest_lid: closure of lids that the feelings ask for.
        """
        before_D = self._shown_D if self._shown_D is not None else space.neutral()
        made_D = space.clamp(np.where(np.isfinite(made_D), made_D, before_D))[0]
        if self._shown_D is not None:  # where the head is at first is nobody's jump
            made_D = before_D + np.clip(made_D - before_D, -MOST_PER_FRAME_D, MOST_PER_FRAME_D)
        if speech:
            seal(made_D, closure)
        else:
            made_D[OPENING] = 0.0
            made_D[_JAW] = rest_jaw
        if gaze_2 is not None:
            own_2 = np.clip(made_D[space.GAZE] - gaze_2, -_GAZE_FREE, _GAZE_FREE)
            made_D[space.GAZE] = gaze_2 + _GAZE_SHARE * own_2
        made_D[_LIPS] = self._offset.apply(made_D[_LIPS], switched=self._speaking and not speech)
        self._since_blink = 0 if blink > _BLINKING else self._since_blink + 1
        cap = min(_LID_CAPS[min(self._since_blink, len(_LID_CAPS) - 1)] + rest_lid, 1.0)
        s = min(max((blink - _SHUTTING) / (_SHUT - _SHUTTING), 0.0), 1.0)
        made_D[_LIDS] = np.clip(made_D[_LIDS], blink * s * s * (3.0 - 2.0 * s), cap)
        self._speaking = speech
        self._shown_D = space.clamp(made_D)[0]
        self._shown_D[_CLOSE] = min(self._shown_D[_CLOSE], self._shown_D[_JAW])
        return self._shown_D.copy()
