"""Which device the settings mean."""

from __future__ import annotations

from typing import Literal

from avatar.errors import AvatarError
from config.settings import AvatarSettings


def device_of(settings: AvatarSettings) -> Literal["cpu", "cuda"]:
    """Where face and motion are computed: 'auto' is the GPU where there is one. Raises AvatarError (no_gpu) when the
    settings insist on one that is not there."""
    if settings.device == "cpu":  # first, because torch takes a second to import
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if settings.device == "auto":
        return "cpu"
    raise AvatarError(
        "no_gpu", "There is no CUDA GPU that torch can use here.", "Set avatar.device to cpu: it needs none."
    )
