"""Errors that tell the person at fault what happened and what to do about it."""

from __future__ import annotations


class AvatarError(ValueError):
    """A refusal caused by outside input.

    code: stable, machine-readable word (`no_face`, `truncated`, ...).
    message: what is wrong, in one sentence.
    hint: what to do about it, in one sentence.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint


class PortraitError(AvatarError):
    """The portrait cannot be used."""


class AudioError(AvatarError):
    """The audio cannot be used."""


class MotionFileError(AvatarError):
    """The file of recorded motion cannot be used."""
