"""A dialogue backend as the session's language model."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final

from livekit.agents import llm, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr

from config.settings import DialogueSettings
from dialogue.protocol import Dialogue, DialogueError, Message
from dialogue.timeouts import bounded

logger = logging.getLogger("visavis.dialogue")

MAX_REPLY_CHARS: Final = 6000
"""About six minutes of speech; a backend that goes on is cut short."""


class DialogueLLM(llm.LLM[str]):
    """Gives the backend the conversation so far and passes its words on.

    When the backend fails, is too slow or sends garbage, the fallback text is spoken and the session goes on.

    session_id: tells this conversation from others.
    on_text: called when the first words of a reply come. on_failure: called with what went wrong.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        settings: DialogueSettings,
        *,
        session_id: str,
        on_text: Callable[[], None] = lambda: None,
        on_failure: Callable[[DialogueError], None] = lambda error: None,
    ) -> None:
        super().__init__()
        self.dialogue = dialogue
        self.settings = settings
        self.session_id = session_id
        self.on_text = on_text
        self.on_failure = on_failure

    @property
    def model(self) -> str:
        return self.settings.backend

    @property
    def provider(self) -> str:
        return "visavis"

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        return _ReplyStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


def history(chat_ctx: llm.ChatContext, limit: int) -> list[Message]:
    """The last `limit` messages of the visitor and the avatar, as the backend wants them."""
    messages = [
        Message("user" if message.role == "user" else "assistant", text)
        for message in chat_ctx.messages()
        if message.role in ("user", "assistant") and (text := (message.text_content or "").strip())
    ]
    return messages[-limit:]


class _ReplyStream(llm.LLMStream):
    async def _run(self) -> None:
        model = self._llm
        assert isinstance(model, DialogueLLM)
        identity = utils.shortuuid("reply_")
        first = True
        async with aclosing(self._pieces(model)) as pieces:
            async for piece in pieces:
                if first:
                    first = False
                    model.on_text()
                delta = llm.ChoiceDelta(role="assistant", content=piece)
                self._event_ch.send_nowait(llm.ChatChunk(id=identity, delta=delta))

    async def _pieces(self, model: DialogueLLM) -> AsyncGenerator[str, None]:
        """The reply, then or instead the fallback text when the backend fails."""
        settings = model.settings
        length = 0
        try:
            messages = history(self._chat_ctx, settings.max_history)
            if not messages or messages[-1].role != "user":
                raise DialogueError("There is nothing to answer.", retryable=False)
            reply = model.dialogue.reply(messages, session_id=model.session_id)
            limited = bounded(reply, first_s=settings.first_token_timeout_s, total_s=settings.total_timeout_s)
            async with aclosing(_checked(limited)) as pieces:
                async for piece in pieces:
                    if piece:
                        yield piece[: MAX_REPLY_CHARS - length]
                    length += len(piece)
                    if length >= MAX_REPLY_CHARS:
                        logger.warning("the dialogue backend's reply was cut at %d characters", MAX_REPLY_CHARS)
                        return
            if length == 0:
                raise DialogueError("The dialogue backend sent an empty reply.")
        except DialogueError as error:
            failure = error
        except Exception as error:  # a plug-in may raise anything; the visitor shall hear a sentence all the same
            logger.exception("the dialogue backend broke")
            failure = DialogueError(f"The dialogue backend broke: {type(error).__name__}.")
        else:
            return
        logger.warning("dialogue: %s", failure)
        model.on_failure(failure)
        if settings.fallback_text:
            yield ("\n" if length else "") + settings.fallback_text


async def _checked(pieces: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    async for piece in pieces:
        if not isinstance(piece, str):
            raise DialogueError(f"The dialogue backend sent {type(piece).__name__} instead of text.")
        yield piece
