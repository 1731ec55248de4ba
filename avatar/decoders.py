"""From the settings to a decoder that is ready to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from avatar.device import device_of
from avatar.errors import AvatarError, PortraitError
from avatar.identity import FRAME_SIZE, load_identity
from avatar.portrait.store import Identity
from avatar.render.decoder import Decoder
from avatar.render.output import FrameFormat, Framing, parse_background
from config.settings import AvatarSettings

if TYPE_CHECKING:
    from avatar.render.batch.decoder import TorchDecoder

PREPARED_SIZES: Final = (FRAME_SIZE, 768, 1024)
"""Sizes at which identities are prepared: the smallest that a frame does not enlarge."""


def frame_format(settings: AvatarSettings) -> FrameFormat:
    """Size, framing and background of the frames. AvatarError for a background that cannot be used."""
    return FrameFormat(settings.size, Framing(settings.framing), parse_background(settings.background))


def identity_of(settings: AvatarSettings) -> Identity:
    """The settings' portrait, prepared at the frames' size. PortraitError says why it cannot be used."""
    return load_identity(settings.portrait, settings, size=prepared_size(settings))


def prepared_size(settings: AvatarSettings) -> int:
    """Side at which a portrait is prepared for the settings' frames, px."""
    return next(size for size in PREPARED_SIZES if size >= settings.size)


def open_decoder(settings: AvatarSettings, shape: FrameFormat | None = None) -> Decoder | TorchDecoder:
    """A decoder of the settings' portrait on the settings' device, compiled and warm; takes seconds the first time.

    shape: what `frame_format` gave before, so that a background is not read again.
    Raises AvatarError for a portrait or a background that cannot be used, and for a GPU that is not there.
    """
    shape = shape or frame_format(settings)  # first, because these are quick to refuse
    device = device_of(settings)
    identity = identity_of(settings)
    try:
        decoder = Decoder(identity, format=shape) if device == "cpu" else _on_gpu(identity, shape)
    except ValueError as error:  # arrays of another version, or a face that the batch has no room for
        if isinstance(error, AvatarError):
            raise
        raise PortraitError("bad_identity", f"{settings.portrait} cannot be drawn.", str(error)) from error
    decoder.warm_up()
    return decoder


def _on_gpu(identity: Identity, shape: FrameFormat) -> TorchDecoder:
    from avatar.render.batch.decoder import TorchDecoder

    return TorchDecoder(identity, format=shape, device="cuda")
