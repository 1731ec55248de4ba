"""The motion network with guidance at run time: hearing exaggerated, at twice the cost. For comparison only: what is
shipped has its guidance folded in by distillation (scripts/train_motion.py).

Classifier-free guidance (J. Ho and T. Salimans 2022) on the clean prediction, at every flow step:
x1 = x1(heard) + strength * (x1(heard) - x1(deaf)), where deaf means audio rows of zeros, as dropped in training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.motion.diffusion.layout import AUDIO
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.weights import MotionWeights
from avatar.motion.space import DIM

Floats = NDArray[np.float32]


class GuidedNet(NumpyNet):
    """A NumpyNet that goes by what it hears `strength` more than it was taught; 0 is the network itself."""

    def __init__(self, weights: MotionWeights, steps: int, strength: float) -> None:
        super().__init__(weights, steps)
        if not 0.0 <= strength <= 10.0:
            raise ValueError(f"guidance {strength}: use 0 to 10.")
        self._strength = np.float32(strength)
        self._heard_TW: Floats = np.zeros((0, weights.width), np.float32)  # what hearing adds to the first layer

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        """As NumpyNet.sample."""
        heard_TW = (audio_TA / self._audio_scale_A) @ self._token[0][DIM : DIM + AUDIO]
        self._heard_TW = np.asarray(heard_TW, np.float32)
        return super().sample(past_PD, audio_TA, control_TC, ear_TU, noise_ND)

    def _predict(
        self,
        motion_TD: Floats,
        fixed_TW: Floats,
        position_TW: Floats,
        past: int,
        modulation: tuple[list[Floats], Floats],
    ) -> Floats:
        heard_ND = super()._predict(motion_TD, fixed_TW, position_TW, past, modulation)
        deaf_ND = super()._predict(motion_TD, fixed_TW - self._heard_TW, position_TW, past, modulation)
        guided_ND: Floats = heard_ND + self._strength * (heard_ND - deaf_ND)
        return guided_ND
