"""Remote dialogue backends against real servers on loopback: streaming, cancelling, retries, garbage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from config.settings import DialogueSettings
from dialogue.openai import OpenAIDialogue
from dialogue.protocol import DialogueError, Message
from dialogue.registry import create, names
from dialogue.websocket import WebsocketDialogue

HISTORY = [Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "How are you?")]


@asynccontextmanager
async def endpoint(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        await runner.cleanup()


def sse(text: str) -> bytes:
    chunk = {
        "id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }  # fmt: skip
    return f"data: {json.dumps(chunk)}\n\n".encode()


async def opened_openai(url: str, **changes: Any) -> OpenAIDialogue:
    dialogue = OpenAIDialogue(DialogueSettings(backend="openai", base_url=url, **changes))
    await dialogue.open()
    return dialogue


async def collect(dialogue: OpenAIDialogue | WebsocketDialogue) -> str:
    return "".join([piece async for piece in dialogue.reply(HISTORY, session_id="s")])


async def test_openai_streams_and_sends_history() -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in ("I am ", "fine."):
            await response.write(sse(word))
        await response.write(b"data: [DONE]\n\n")
        return response

    async with endpoint(handler) as url:
        dialogue = await opened_openai(url, system_prompt="Be kind.")
        assert await collect(dialogue) == "I am fine."
        await dialogue.aclose()
    assert [m["role"] for m in seen[0]["messages"]] == ["system", "user", "assistant", "user"]


async def test_openai_retries_before_the_first_token() -> None:
    calls = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls == 1:
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(sse("Back.") + b"data: [DONE]\n\n")
        return response

    async with endpoint(handler) as url:
        assert await collect(await opened_openai(url)) == "Back."
    assert calls == 2


async def test_openai_slow_first_token_is_given_up() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    async with endpoint(handler) as url:
        with pytest.raises(DialogueError, match=r"no text within 0\.2 s"):
            await collect(await opened_openai(url, first_token_timeout_s=0.2))


@pytest.mark.parametrize(
    ("status", "body", "match"),
    [
        (401, b"{}", "refused the key"),
        (404, b"{}", "no model"),
        (200, b"<html>hello</html>", "empty reply|OpenAI format"),
        (200, b"data: {not json\n\n", "OpenAI format|error"),
        (200, b'data: {"choices": 7}\n\n', "OpenAI format|error"),
    ],
)
async def test_openai_garbage_is_a_clear_error(status: int, body: bytes, match: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, content_type="text/event-stream")

    async with endpoint(handler) as url:
        with pytest.raises(DialogueError, match=match):
            await collect(await opened_openai(url, retries=0))


async def test_openai_endpoint_down() -> None:
    with pytest.raises(DialogueError, match="cannot be reached"):
        await collect(await opened_openai("http://127.0.0.1:9/v1", retries=0))


async def test_openai_cancel_closes_the_request() -> None:
    closed = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(sse("on and on "))
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            closed.set()
            raise

    async with endpoint(handler) as url:
        dialogue = await opened_openai(url)
        stream = dialogue.reply(HISTORY, session_id="s")
        assert await anext(stream) == "on and on "
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(closed.wait(), 2)


async def test_openai_needs_an_endpoint_or_key() -> None:
    with pytest.raises(DialogueError, match="endpoint or a key"):
        await OpenAIDialogue(DialogueSettings(backend="openai")).open()


@asynccontextmanager
async def bot(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[WebsocketDialogue]:
    async with serve(handler, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        dialogue = WebsocketDialogue(DialogueSettings(base_url=f"ws://127.0.0.1:{port}", retries=0, total_timeout_s=3))
        await dialogue.open()
        yield dialogue


async def test_bot_streams() -> None:
    async def handler(socket: ServerConnection) -> None:
        ask = json.loads(await socket.recv())
        assert ask["type"] == "ask" and ask["session_id"] == "s" and len(ask["history"]) == 3
        for word in ("Very ", "well."):
            await socket.send(json.dumps({"type": "delta", "text": word}))
        await socket.send('{"type": "done"}')

    async with bot(handler) as dialogue:
        assert await collect(dialogue) == "Very well."


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        (["not json"], "not in the protocol"),
        (['{"type": "dance"}'], "not in the protocol"),
        (['{"type": "delta", "text": 5}'], "not in the protocol"),
        (['{"type": "error", "message": "asleep", "retryable": false}'], "asleep"),
        (['{"type": "delta", "text": "half"}'], "before its reply was complete"),
        (['{"type": "delta", "text": "' + "x" * 70_000 + '"}'], "hung up"),
    ],
)
async def test_bot_garbage_is_a_clear_error(messages: list[str], match: str) -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        for message in messages:
            await socket.send(message)

    async with bot(handler) as dialogue:
        with pytest.raises(DialogueError, match=match):
            await collect(dialogue)


async def test_bot_cancel_hangs_up() -> None:
    gone = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type": "delta", "text": "Well, "}')
        await socket.wait_closed()
        gone.set()

    async with bot(handler) as dialogue:
        stream = dialogue.reply(HISTORY, session_id="s")
        assert await anext(stream) == "Well, "
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(gone.wait(), 2)


async def test_bot_down_and_bad_address() -> None:
    dialogue = WebsocketDialogue(DialogueSettings(base_url="ws://127.0.0.1:9", retries=0))
    with pytest.raises(DialogueError, match="cannot be reached"):
        await collect(dialogue)
    with pytest.raises(DialogueError, match="address of your bot"):
        await WebsocketDialogue(DialogueSettings(base_url="http://x")).open()


def test_registry_knows_ours_and_names_the_nearest() -> None:
    assert {"knowledge", "openai", "websocket"} <= set(names())
    assert isinstance(create(DialogueSettings(backend="openai")), OpenAIDialogue)
    with pytest.raises(DialogueError, match="Did you mean 'knowledge'"):
        create(DialogueSettings(backend="knowlege"))
