"""What went wrong with hearing or speaking, and what to do about it."""

from __future__ import annotations


class SpeechError(ValueError):
    """A recogniser or a voice cannot be used as asked.

    code: stable, machine-readable word (`voice_missing`, `model_missing`, `engine_failed`, ...).
    message: what is wrong, in one sentence.
    hint: what to do about it, in one sentence.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint
