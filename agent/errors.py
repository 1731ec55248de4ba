"""Exit codes and the one place where an exception becomes a sentence for the person at the terminal."""

from __future__ import annotations

from agent.speech.errors import SpeechError
from avatar.errors import AvatarError
from config import ConfigError
from dialogue.protocol import DialogueError

EXIT_FAILED = 1
"""Something broke that should not have."""
EXIT_USAGE = 2
"""A setting, profile or option is wrong."""
EXIT_INPUT = 3
"""A portrait, an audio file or another input was refused."""
EXIT_UNAVAILABLE = 4
"""Something needed is missing or in use: a dialogue backend, a port, a model, a server."""


class Unavailable(RuntimeError):
    """Something the command needs is missing or in use; the message says what to do."""


def explain(error: BaseException) -> tuple[str, int] | None:
    """(sentence, exit code) for the errors that we raise on purpose; None for a bug."""
    if isinstance(error, ConfigError):
        return str(error), EXIT_USAGE
    if isinstance(error, AvatarError):
        return str(error), EXIT_INPUT
    if isinstance(error, DialogueError | SpeechError | Unavailable):
        return str(error), EXIT_UNAVAILABLE
    return None
