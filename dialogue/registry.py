"""Finds dialogue backends: ours and those that other packages register as `visavis.dialogue` entry points."""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points

from config.settings import DialogueSettings
from dialogue.protocol import Dialogue, DialogueError

GROUP = "visavis.dialogue"


def names() -> list[str]:
    """Installed backends."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def create(settings: DialogueSettings) -> Dialogue:
    """The backend that `settings.backend` names; call its `open()` next. Raises DialogueError."""
    for point in entry_points(group=GROUP):
        if point.name == settings.backend:
            try:
                backend = point.load()(settings)
            except ImportError as error:
                raise DialogueError(
                    f"The dialogue backend '{point.name}' cannot be loaded: {error}.", retryable=False
                ) from None
            if not isinstance(backend, Dialogue):
                raise DialogueError(
                    f"'{point.name}' ({point.value}) is not a dialogue backend.",
                    hint="It must offer open, aclose, reply and vocabulary; see dialogue/protocol.py.",
                    retryable=False,
                )
            return backend
    close = difflib.get_close_matches(settings.backend, names(), n=1)
    hint = f"Did you mean '{close[0]}'?" if close else f"Installed: {', '.join(names())}."
    raise DialogueError(f"There is no dialogue backend '{settings.backend}'.", hint=hint, retryable=False)
