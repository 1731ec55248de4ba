"""From the settings to the motion that is asked for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from avatar.errors import AvatarError
from avatar.motion.diffusion.features import SpeechFeatures
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.diffusion.weights import load_weights, shipped_weights
from avatar.motion.protocol import Motion
from avatar.motion.stream import MotionStream
from avatar.motion.viseme_net import VisemeNet
from config.settings import AvatarSettings


def open_motion(settings: AvatarSettings, *, seed: int | None = None) -> Motion:
    """A new motion of the settings' kind; networks are read once and shared.

    seed: instead of the settings' own. Raises AvatarError for weights that cannot be used.
    """
    seed = settings.seed if seed is None else seed
    if settings.motion == "articulation":
        return MotionStream(seed, VisemeNet())
    try:
        net = _net(settings.motion_model, settings.motion_steps)
    except ValueError as error:
        raise AvatarError(
            "no_motion_model",
            f"The motion model '{settings.motion_model}' cannot be used: {error}",
            "Set avatar.motion_model to small, or avatar.motion to articulation, which needs no model.",
        ) from error
    return DiffusionMotion(net, seed, features=SpeechFeatures(VisemeNet()))


@lru_cache(maxsize=2)
def _net(model: str, steps: int) -> NumpyNet:
    """A network for all sessions: it keeps nothing between windows."""
    weights = load_weights(Path(model)) if model.endswith(".safetensors") else shipped_weights(model)
    return NumpyNet(weights, steps)
