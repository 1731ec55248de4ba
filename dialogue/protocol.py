"""What a dialogue backend must offer: a cancellable stream of text pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation so far."""

    role: Literal["user", "assistant"]
    text: str


class DialogueError(RuntimeError):
    """The backend cannot answer.

    message: what went wrong, for the operator's log.
    hint: what the operator can do.
    retryable: whether the same question may work if asked again.
    """

    def __init__(self, message: str, *, hint: str = "", retryable: bool = True) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint
        self.retryable = retryable


@runtime_checkable
class Dialogue(Protocol):
    """A dialogue backend.

    One instance serves many conversations at once; `session_id` tells them apart.
    """

    async def open(self) -> None:
        """Make ready (load an index, check an endpoint). Raises DialogueError if it can never work."""

    async def aclose(self) -> None:
        """Release everything; safe to call twice."""

    def reply(self, history: Sequence[Message], *, session_id: str) -> AsyncIterator[str]:
        """Stream the reply to the last message of `history` in pieces of text.

        history ends with a user message. The caller may stop at any point by closing the iterator
        (`aclose()`), after which the backend does no further work. Raises DialogueError.
        """
        ...

    def vocabulary(self) -> Sequence[str]:
        """Sentences that visitors are likely to say or to hear, for the recogniser's language model; may be empty."""
        ...
