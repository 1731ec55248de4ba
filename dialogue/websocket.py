"""Your own bot as dialogue backend, over a websocket. The messages are documented in docs/dialogue.md.

One connection per reply: the bot may be restarted at any time, and cancelling is closing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Literal

import websockets
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from websockets.asyncio.client import connect

from config.settings import DialogueSettings
from dialogue.protocol import DialogueError, Message
from dialogue.timeouts import bounded

log = logging.getLogger("visavis.dialogue")

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 64 * 1024
MAX_REPLY_CHARS = 20_000


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Turn(_Wire):
    role: Literal["user", "assistant"]
    text: str


class Ask(_Wire):
    """visavis -> bot, the first and only message of a connection."""

    type: Literal["ask"] = "ask"
    version: int = PROTOCOL_VERSION
    session_id: str
    history: list[Turn]


class Delta(_Wire):
    """bot -> visavis: the next piece of text."""

    type: Literal["delta"]
    text: str


class Done(_Wire):
    """bot -> visavis: the reply is complete."""

    type: Literal["done"]


class Failed(_Wire):
    """bot -> visavis: there will be no reply."""

    type: Literal["error"]
    message: str
    retryable: bool = True


Answer = Annotated[Delta | Done | Failed, Field(discriminator="type")]
_ANSWER: TypeAdapter[Delta | Done | Failed] = TypeAdapter(Answer)


class WebsocketDialogue:
    """See dialogue.protocol.Dialogue."""

    def __init__(self, settings: DialogueSettings) -> None:
        self._settings = settings

    async def open(self) -> None:
        url = self._settings.base_url
        if not url or not url.startswith(("ws://", "wss://")):
            raise DialogueError(
                "The websocket dialogue needs the address of your bot.",
                hint="Set dialogue.base_url to a ws:// or wss:// address.",
                retryable=False,
            )

    async def aclose(self) -> None:
        return None

    def vocabulary(self) -> Sequence[str]:
        return []

    async def reply(self, history: Sequence[Message], *, session_id: str) -> AsyncIterator[str]:
        settings = self._settings
        pieces = bounded(
            self._stream(history, session_id), first_s=settings.first_token_timeout_s, total_s=settings.total_timeout_s
        )
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    async def _stream(self, history: Sequence[Message], session_id: str) -> AsyncIterator[str]:
        attempt = 0
        while True:
            said_something = False
            try:
                async for piece in self._ask(history, session_id):
                    said_something = True
                    yield piece
                return
            except DialogueError as error:
                if said_something or not error.retryable or attempt >= self._settings.retries:
                    raise
                attempt += 1
                log.warning("bot failed, trying again", extra={"attempt": attempt, "reason": error.message})
                await asyncio.sleep(min(0.25 * 2**attempt, 2.0))

    async def _ask(self, history: Sequence[Message], session_id: str) -> AsyncIterator[str]:
        settings = self._settings
        url = settings.base_url or ""
        headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"} if settings.api_key else {}
        ask = Ask(
            session_id=session_id,
            history=[Turn(role=m.role, text=m.text) for m in history[-settings.max_history :]],
        )
        characters = 0
        try:
            async with connect(
                url, additional_headers=headers, max_size=MAX_MESSAGE_BYTES, close_timeout=1, proxy=None
            ) as socket:
                await socket.send(ask.model_dump_json())
                async for raw in socket:
                    answer = _ANSWER.validate_json(raw)
                    if isinstance(answer, Done):
                        return
                    if isinstance(answer, Failed):
                        raise DialogueError(f"The bot reported: {answer.message[:200]}", retryable=answer.retryable)
                    characters += len(answer.text)
                    if characters > MAX_REPLY_CHARS:
                        raise DialogueError(f"The bot's reply is longer than {MAX_REPLY_CHARS} characters.")
                    if answer.text:
                        yield answer.text
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise DialogueError(
                f"The bot sent a message that is not in the protocol ({detail}).",
                hint="See docs/dialogue.md.",
                retryable=False,
            ) from None
        except (OSError, websockets.WebSocketException, TimeoutError) as error:
            raise DialogueError(
                f"The bot at {url} cannot be reached or hung up ({type(error).__name__}).",
                hint="Is it running, and dialogue.base_url right?",
            ) from None
        raise DialogueError("The bot closed the connection before its reply was complete.")


def create(settings: DialogueSettings) -> WebsocketDialogue:
    """Entry point of the group `visavis.dialogue`."""
    return WebsocketDialogue(settings)
