"""From the settings to the motion that is asked for, and back: whoever opens a motion closes it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from avatar.device import device_of
from avatar.errors import AvatarError
from avatar.motion.diffusion.features import SpeechFeatures
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.diffusion.together import Full
from avatar.motion.diffusion.weights import MotionWeights, load_weights, shipped_weights
from avatar.motion.protocol import Motion
from avatar.motion.stream import MotionStream
from avatar.motion.viseme_net import VisemeNet
from config.settings import AvatarSettings

if TYPE_CHECKING:  # torch: imported only where a device other than the CPU is asked for
    from avatar.motion.diffusion.shared import Place, SharedMotion

_LOADING: Final = threading.Lock()


def open_motion(settings: AvatarSettings, *, seed: int | None = None) -> Motion:
    """A new motion of the settings' kind, to be given to `close_motion`; networks are read once and shared.

    With a GPU (`device_of`) the motion has a seat at one that the process shares; the first takes seconds.
    seed: instead of the settings' own. Raises AvatarError for weights that cannot be used (no_motion_model), a GPU that
    is not there (no_gpu) and when all its seats are taken (full).
    """
    if settings.motion == "articulation":
        return MotionStream(settings.seed if seed is None else seed, VisemeNet())
    device = device_of(settings)
    if device != "cpu":
        return open_seated(settings, device, seed=seed)
    with _explained(settings.motion_model):
        net = _net(settings.motion_model, settings.motion_steps)
    return DiffusionMotion(net, settings.seed if seed is None else seed, features=SpeechFeatures(VisemeNet()))


def close_motion(motion: Motion) -> None:
    """Give back what `open_motion` took for this motion, at once; it must not be used afterwards. Twice does nothing.

    A motion that is forgotten instead gives its seat back when Python collects it.
    """
    if isinstance(motion, SeatedMotion):
        motion.close()


def open_seated(settings: AvatarSettings, device: str, *, seed: int | None = None) -> SeatedMotion:
    """`open_motion` at a seat of the networks on a torch device; 'cpu' is for tests: `NumpyNet` is faster there."""
    with _explained(settings.motion_model), _LOADING:  # who comes meanwhile waits, and does not load them again
        shared = _shared(settings.motion_model, settings.motion_steps, device, settings.motion_seats)
    try:
        place = shared.join()
    except Full as error:
        raise AvatarError(
            "full",
            f"All {settings.motion_seats} seats of the motion network on the GPU are taken.",
            "End a session, or raise avatar.motion_seats.",
        ) from error
    return SeatedMotion(place, settings.seed if seed is None else seed)


def steps_of(settings: AvatarSettings) -> int:
    """Flow steps per window: the settings', else what the weights are meant for. Raises AvatarError for weights that
    cannot be used."""
    if settings.motion_steps is not None:
        return settings.motion_steps
    with _explained(settings.motion_model):
        return _weights(settings.motion_model).steps


class SeatedMotion(DiffusionMotion):
    """A motion whose networks are a seat on a device shared with other sessions."""

    def __init__(self, place: Place, seed: int) -> None:
        """place: taken for this motion, which gives it back."""
        # Its objects refer to each other, so it may be collected late, by any thread and within any lock.
        self._forgotten = weakref.finalize(self, place.abandon)
        self._forgotten.atexit = False
        self._place = place
        super().__init__(place.net, seed, features=SpeechFeatures(place.visemes))

    def close(self) -> None:
        """Give the seat back at once; the motion must not be used afterwards. Twice does nothing."""
        self._forgotten.detach()
        self._place.leave()


@contextmanager
def _explained(model: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise AvatarError(
            "no_motion_model",
            f"The motion model '{model}' cannot be used: {error}",
            "Set avatar.motion_model to small, or avatar.motion to articulation, which needs no model.",
        ) from error


@lru_cache(maxsize=2)
def _net(model: str, steps: int | None) -> NumpyNet:
    """A network for all sessions: it keeps nothing between windows."""
    return NumpyNet(_weights(model), steps)


@lru_cache(maxsize=2)
def _shared(model: str, steps: int | None, device: str, seats: int) -> SharedMotion:
    """Networks for all sessions of this process, ready; kept when nobody sits there, for they take seconds."""
    from avatar.motion.diffusion.shared import SharedMotion

    shared = SharedMotion(_weights(model), seats, device=device, steps=steps)
    shared.warm_up()
    return shared


def _weights(model: str) -> MotionWeights:
    return load_weights(Path(model)) if model.endswith(".safetensors") else shipped_weights(model)
