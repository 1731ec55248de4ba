"""Small networks for tests of the stream: what a motion network is asked, without what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.articulation import to_motion
from avatar.motion.controls import CONTROL_INDEX, NOD_DEG
from avatar.motion.diffusion.features import SpeechFeatures
from avatar.motion.diffusion.layout import AUDIO_COLUMNS, LOOK
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.viseme_net import VisemeNet

Floats = NDArray[np.float32]
_SLOW = np.array([not n.startswith(("jaw", "mouth", "tongue", "cheek", "eyeBlink", "gaze")) for n in space.NAMES])


@dataclass
class FollowNet:
    """Does as it is told: lips by the articulators it hears, lids and gaze by their controls, the rest drifts from the
    past towards the noise. Remembers the windows it made."""

    past: int = 10
    windows: list[tuple[int, int]] = field(default_factory=list)
    """(past frames, frames made) of each window; kept short."""
    count: int = 0

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        past, new = len(past_PD), len(noise_ND)
        assert past <= self.past and new > LOOK
        assert len(audio_TA) == len(control_TC) == len(ear_TU) == past + new
        for given in (past_PD, audio_TA, control_TC, ear_TU, noise_ND):
            assert given.dtype == np.float32 and np.isfinite(given).all()
        self.count += 1
        self.windows = [*self.windows[-50:], (past, new)]
        out_ND = np.zeros((new, space.DIM), np.float32)
        at_D = past_PD[-1].copy() if past else space.neutral()
        for out_D, audio_A, control_C, noise_D in zip(
            out_ND, audio_TA[past:], control_TC[past:], noise_ND, strict=True
        ):
            at_D = at_D + 0.1 * (0.02 * noise_D - at_D)
            out_D[_SLOW] = at_D[_SLOW]
            out_D += to_motion(audio_A[AUDIO_COLUMNS["artic"]])
            out_D[[space.INDEX["eyeBlinkLeft"], space.INDEX["eyeBlinkRight"]]] = control_C[CONTROL_INDEX["blink"]]
            out_D[space.INDEX["headPitch"]] -= np.radians(NOD_DEG) * control_C[CONTROL_INDEX["nod"]]
            out_D[space.GAZE] = control_C[:2]
        return out_ND


@dataclass
class WildNet:
    """The worst network: anything at all, now and then no number."""

    past: int = 10

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        out_ND: Floats = (3.0 * noise_ND).astype(np.float32)
        out_ND[noise_ND > 2.0] = np.nan
        out_ND[noise_ND < -2.2] = -np.inf
        return out_ND


def diffusion(seed: int = 0, net: FollowNet | WildNet | None = None, **kwargs: int) -> DiffusionMotion:
    """A stream over a stand-in network, without a warm-up; hears with the real viseme network."""
    kwargs.setdefault("warm_up", 0)
    return DiffusionMotion(net or FollowNet(), seed, features=SpeechFeatures(VisemeNet()), **kwargs)
