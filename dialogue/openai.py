"""Any OpenAI-compatible endpoint as dialogue backend, streaming, through the `openai` client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import openai

from config.settings import DialogueSettings
from dialogue.protocol import DialogueError, Message
from dialogue.tags import INSTRUCTION
from dialogue.timeouts import bounded

log = logging.getLogger("visavis.dialogue")


class OpenAIDialogue:
    """Streams chat completions. See dialogue.protocol.Dialogue.

    Requests that fail before the first token are tried again (`dialogue.retries`, with a growing pause);
    after the first token nothing is repeated, since the visitor has already heard it.
    """

    def __init__(self, settings: DialogueSettings) -> None:
        self._settings = settings
        self._client: openai.AsyncOpenAI | None = None

    async def open(self) -> None:
        settings = self._settings
        if settings.api_key is None and settings.base_url is None:
            raise DialogueError(
                "The openai dialogue needs an endpoint or a key.",
                hint="Set dialogue.base_url (an OpenAI-compatible server) or dialogue.api_key.",
                retryable=False,
            )
        key = settings.api_key.get_secret_value() if settings.api_key else "none"
        self._client = openai.AsyncOpenAI(
            api_key=key, base_url=settings.base_url, timeout=settings.total_timeout_s, max_retries=0
        )

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def vocabulary(self) -> Sequence[str]:
        return []

    async def reply(self, history: Sequence[Message], *, session_id: str) -> AsyncIterator[str]:
        settings = self._settings
        pieces = bounded(
            self._stream(history), first_s=settings.first_token_timeout_s, total_s=settings.total_timeout_s
        )
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    async def _stream(self, history: Sequence[Message]) -> AsyncIterator[str]:
        settings = self._settings
        if self._client is None:
            raise DialogueError("The dialogue is not open.", retryable=False)
        prompt = "\n\n".join(part for part in (settings.system_prompt, settings.emotion_tags and INSTRUCTION) if part)
        messages: list[Any] = [{"role": "system", "content": prompt}] if prompt else []
        messages += [{"role": m.role, "content": m.text} for m in history[-settings.max_history :]]
        attempt = 0
        while True:
            started = False
            try:
                stream = await self._client.chat.completions.create(
                    model=settings.model,
                    messages=messages,
                    stream=True,
                    temperature=settings.temperature,
                    max_tokens=settings.max_tokens,
                )
                async with stream:
                    async for chunk in stream:
                        text = chunk.choices[0].delta.content if chunk.choices else None
                        if text:
                            started = True
                            yield text
            except openai.APIError as error:
                failure = _explain(error, settings)
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                # The client's parser met something that is not the protocol (HTML, half a JSON object).
                failure = DialogueError(
                    f"The endpoint did not answer in the OpenAI format ({type(error).__name__}).",
                    hint="Check dialogue.base_url; it usually ends in /v1.",
                )
            else:
                if started:
                    return
                failure = DialogueError("The endpoint sent an empty reply.")
            if started or not failure.retryable or attempt >= settings.retries:
                raise failure
            attempt += 1
            log.warning("dialogue endpoint failed, trying again", extra={"attempt": attempt, "reason": failure.message})
            await asyncio.sleep(min(0.25 * 2**attempt, 2.0))


def _explain(error: openai.APIError, settings: DialogueSettings) -> DialogueError:
    where = settings.base_url or "the OpenAI service"
    if isinstance(error, openai.APITimeoutError):
        return DialogueError(f"{where} did not answer in time.", hint="Is the server overloaded?")
    if isinstance(error, openai.APIConnectionError):
        return DialogueError(f"{where} cannot be reached.", hint="Is the server running, and dialogue.base_url right?")
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return DialogueError(f"{where} refused the key.", hint="Check dialogue.api_key.", retryable=False)
    if isinstance(error, openai.NotFoundError):
        return DialogueError(
            f"{where} has no model '{settings.model}' or no such path.",
            hint="Check dialogue.model and dialogue.base_url.",
            retryable=False,
        )
    status = getattr(error, "status_code", None)
    retryable = status is None or status >= 500 or status in (408, 409, 429)
    return DialogueError(f"{where} answered with an error (status {status}).", retryable=retryable)


def create(settings: DialogueSettings) -> OpenAIDialogue:
    """Entry point of the group `visavis.dialogue`."""
    return OpenAIDialogue(settings)
