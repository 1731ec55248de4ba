"""From the settings to a decoder that is ready to draw."""

from __future__ import annotations

from typing import Final

from avatar.identity import FRAME_SIZE, load_identity
from avatar.portrait.store import Identity
from avatar.render.decoder import Decoder
from avatar.render.output import FrameFormat, Framing, parse_background
from config.settings import AvatarSettings

PREPARED_SIZES: Final = (FRAME_SIZE, 768, 1024)
"""Sizes at which identities are prepared: the smallest that a frame does not enlarge."""


def frame_format(settings: AvatarSettings) -> FrameFormat:
    """Size, framing and background of the frames. AvatarError for a background that cannot be used."""
    return FrameFormat(settings.size, Framing(settings.framing), parse_background(settings.background))


def identity_of(settings: AvatarSettings) -> Identity:
    """The settings' portrait, prepared at the frames' size. PortraitError says why it cannot be used."""
    size = next(prepared for prepared in PREPARED_SIZES if prepared >= settings.size)
    return load_identity(settings.portrait, settings, size=size)


def open_decoder(settings: AvatarSettings) -> Decoder:
    """A decoder of the settings' portrait, compiled and warm; takes seconds the first time.

    Raises AvatarError for a portrait or a background that cannot be used.
    """
    shape = frame_format(settings)  # first, because it is quick to refuse
    decoder = Decoder(identity_of(settings), format=shape)
    decoder.warm_up()
    return decoder
