"""What the avatar is doing in the conversation."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What the avatar is doing in the conversation."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
