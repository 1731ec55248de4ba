"""The kiosk over real sockets on loopback: page, gate, conversation, and every way to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from livekit.agents import TurnHandlingOptions, inference
from websockets.exceptions import InvalidStatus

from agent.errors import Unavailable
from agent.session import Conversation, Parts
from agent.speech.flite import FliteVoice
from agent.transports import kiosk as kiosk_module
from agent.transports import visit as visit_module
from agent.transports.gate import allowed_origins
from agent.transports.kiosk import Close, Kiosk
from agent.transports.protocol import HEADER, MAX_MESSAGE_BYTES, Kind
from agent.transports.static import StaticSite
from avatar.clock import FRAME_SAMPLES
from avatar.stream import FrameDecoder
from config import load
from tests.agent_stand_ins import DiscDecoder, KnowingSTT, ScriptedDialogue, disc_area
from tests.kiosk_client import Page
from tests.test_agent_session import LONG, long_answer, question, short_answer


@asynccontextmanager
async def running(
    answer: Callable[[str], AsyncIterator[str]] = short_answer,
    *,
    ears: list[str] | None = None,
    site: StaticSite | None = None,
    decoder: FrameDecoder | None = None,
    **overrides: Any,
) -> AsyncIterator[Kiosk]:
    settings = load(None, environ={}, overrides={"session.greeting": "", "kiosk.port": 0, **overrides}).settings
    parts = Parts(
        voice=FliteVoice("kal16"),
        stt=KnowingSTT(ears or [""]),
        vad=inference.VAD(min_silence_duration=0.25),
        turn_handling=TurnHandlingOptions(
            turn_detection=inference.TurnDetector(version="v1-mini"),
            endpointing={"min_delay": 0.3, "max_delay": 0.5},
            interruption={"mode": "vad", "min_duration": 0.25, "false_interruption_timeout": 0.6},
        ),
        dialogue=ScriptedDialogue(answer),
    )
    server = Kiosk(settings, decoder or DiscDecoder(), parts, site=site)
    await server.start()
    try:
        yield server
    finally:
        started = time.monotonic()
        await server.aclose()
        assert time.monotonic() - started < 5, "the server stops within seconds"


async def test_the_face_lives_before_start_and_says_what_it_is() -> None:
    async with running(**{"session.title": "Museum"}) as server, Page(server.link) as page:
        await page.until(lambda: len(page.pictures) > 10)
        assert page.messages[0]["type"] == "hello" and page.messages[0]["title"] == "Museum"
        assert page.messages[0]["disclosure"] and len(page.messages[0]["session"]) >= 16
        assert page.messages[1] == {"type": "state", "state": "idle"}
        samples = [item.sample for item in page.sound]
        assert samples == [samples[0] + k * FRAME_SAMPLES for k in range(len(samples))], "no gaps"
        image = cv2.imdecode(np.frombuffer(page.pictures[0].payload, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.shape == (128, 128, 3)
        assert {item.sample for item in page.pictures} <= set(samples)
        seconds = page.sound[-1].at - page.sound[0].at
        assert len(page.sound) - 1 == pytest.approx(seconds * 25, abs=3)


async def test_a_spoken_question_over_the_socket() -> None:
    async with running(long_answer, ears=["When?"]) as server, Page(server.link) as page:
        await page.send(type="start", microphone=True)
        await page.until(lambda: page.state == "listening")
        await page.quiet(0.5)
        await page.say(await question())
        await page.until(lambda: page.spoken, listening=True)
        await page.quiet(1.0)
        assert page.of("transcript")[-1]["text"] == "When?" and page.of("transcript")[-1]["final"]
        caption = page.of("caption")[0]
        assert LONG.startswith(caption["text"]) and caption["start_sample"] == page.spoken[0].sample
        marks = page.of("latency")[0]["marks_ms"]
        assert marks["speech_end"] == 0 and marks["first_frame"] < 3000
        talking = [
            disc_area(cv2.imdecode(np.frombuffer(item.payload, np.uint8), cv2.IMREAD_COLOR))
            for item in page.pictures
            if item.speech
        ]
        assert max(talking) > 1.5 * min(talking)


async def test_stop_clears_within_200_ms_and_the_next_reply_is_heard() -> None:
    async with running(long_answer) as server, Page(server.link) as page:
        await page.send(type="start", microphone=False)
        await page.until(lambda: page.state == "listening")
        await page.send(type="text", text="Hi")
        await page.until(lambda: len(page.spoken) > 10)
        asked = time.monotonic()
        await page.send(type="stop")
        await page.until(lambda: page.of("clear"))
        assert page.times[page.messages.index(page.of("clear")[0])] - asked < 0.2
        epoch = page.of("clear")[0]["epoch"]
        await asyncio.sleep(0.3)
        assert all(item.at - asked < 0.2 for item in page.spoken)
        assert page.of("caption")[-1]["final"], "the caption ends with what was heard"
        await page.send(type="text", text="Again")
        await page.until(lambda: page.spoken[-1].epoch == epoch)
        assert page.of("error") == []


async def test_muting_ends_what_was_being_said() -> None:
    async with running(ears=["When?"]) as server, Page(server.link) as page:
        await page.send(type="start", microphone=True)
        await page.until(lambda: page.state == "listening")
        await page.quiet(0.3)
        await page.say(await question())
        await page.send(type="mute", muted=True)
        await page.until(lambda: page.spoken)
        assert page.of("transcript")[-1]["text"] == "When?"


async def test_second_tab_is_told_that_the_avatar_is_busy() -> None:
    async with running() as server, Page(server.link) as first:
        await first.until(lambda: first.messages)
        link, session = server.link, first.messages[0]["session"]
        for secret in ("", session):  # a new tab; a duplicated tab
            async with Page(link, session=secret) as second:
                await second.until(lambda s=second: s.closed)
                assert second.messages[0]["code"] == "busy" and second.messages[0]["fatal"]
                assert second.closed is not None and second.closed[0] == Close.BUSY
        count = len(first.sound)
        await first.until(lambda: len(first.sound) > count + 5)
        assert first.closed is None


async def test_a_reload_comes_back_to_the_same_conversation() -> None:
    async with running() as server:
        link = server.link
        async with Page(link) as page:
            await page.send(type="start", microphone=False)
            await page.until(lambda: page.state == "listening")
            await page.send(type="text", text="Hi")
            await page.until(lambda: page.spoken)
            session = page.messages[0]["session"]
            await page.send(type="bye")
        async with Page(link, session=session) as again:
            await again.until(lambda: len(again.sound) > 3)
            assert again.messages[0]["session"] == session
            assert again.sound[0].sample > page.sound[-1].sample, "the same clock"
            await again.send(type="start", microphone=False)
            await again.send(type="text", text="Still there?")
            await again.until(lambda: again.spoken)
        async with Page(link) as stranger:
            await stranger.until(lambda: stranger.closed)
            assert stranger.messages[0]["code"] == "link_used"


async def test_a_dropped_network_comes_back_while_the_old_connection_still_seems_open() -> None:
    async with running() as server:
        link = server.link
        async with Page(link) as lost:
            await lost.until(lambda: lost.sound)
            lost.socket.transport.pause_reading()  # answers no ping any more
            started = time.monotonic()
            async with Page(link, session=lost.messages[0]["session"]) as again:
                await again.until(lambda: again.sound)
                assert again.messages[0]["type"] == "hello" and time.monotonic() - started < 6
                lost.socket.transport.resume_reading()
                await lost.until(lambda: lost.closed)
                count = len(again.sound)
                await again.until(lambda: len(again.sound) > count + 5)


async def test_a_client_that_vanishes_in_mid_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit_module, "RESUME_S", 0.5)
    links: list[str] = []
    async with running(long_answer) as server:
        server._on_link = links.append
        link = server.link
        async with Page(link) as page:
            await page.send(type="start", microphone=False)
            await page.until(lambda: page.state == "listening")
            await page.send(type="text", text="Hi")
            await page.until(lambda: page.spoken)
            visit = server._visit
            page.socket.transport.abort()
        assert visit is not None
        started = time.monotonic()
        await asyncio.wait_for(visit.over.wait(), 5)
        await visit.aclose()
        assert time.monotonic() - started < 3
        assert not visit._runner.busy, "nobody is talked to"
        assert links and links[0] != link, "the next visitor's link"
        async with Page(links[0]) as following:
            await following.until(lambda: following.sound)
            assert following.sound[0].sample == 0, "a new face for a new visitor"


async def test_other_origins_and_wrong_links_are_refused() -> None:
    async with running() as server:
        for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
            with pytest.raises(InvalidStatus) as refused:
                async with Page(server.link, origin=origin):
                    pass
            assert refused.value.response.status_code == 403
        for link in (server.link[:-1] + "!", server.link.split("?")[0] + "?token=", server.link.split("?")[0] + "?x=1"):
            async with Page(link) as page:
                await page.until(lambda p=page: p.closed)
                assert page.messages[0]["code"] == "link_invalid" and page.messages[0]["hint"]
                assert page.closed is not None and page.closed[0] == Close.REFUSED
        async with Page(server.link.replace("127.0.0.1", "localhost"), origin=server.link.split("/?")[0]) as page:
            await page.until(lambda: page.sound)


GARBAGE: list[str | bytes] = [
    "not json", "{}", "[]", '{"type": "dance"}', '{"type": "text"}', '{"type": "text", "text": ""}',
    '{"type": "text", "text": 5}', json.dumps({"type": "text", "text": "x" * 3000}), '{"type": "stop", "now": true}',
    '{"type": "played", "sample": -1}', '{"type": "played", "sample": 1, "av_offset_ms": NaN}',
    b"", b"\x01", HEADER.pack(Kind.VIDEO, 0, 0, 0, 0) + b"\0\0", HEADER.pack(Kind.MICROPHONE, 0, 0, 0, 0),
    HEADER.pack(Kind.MICROPHONE, 0, 0, 0, 0) + b"\0\0\0",
]  # fmt: skip


async def test_garbage_is_answered_counted_and_not_fatal() -> None:
    async with running() as server, Page(server.link) as page:
        await page.send(type="start", microphone=False)
        for message in GARBAGE:
            await page.socket.send(message)
        await page.until(lambda: len(page.of("error")) == len(GARBAGE))
        assert {error["code"] for error in page.of("error")} == {"protocol"}
        assert not any(error["fatal"] for error in page.of("error"))
        assert server.garbage == len(GARBAGE)
        await page.send(type="text", text="Hi")
        await page.until(lambda: page.spoken)


async def test_persistent_garbage_ends_the_connection() -> None:
    async with running() as server, Page(server.link) as page:
        with contextlib.suppress(Exception):
            for _ in range(kiosk_module.MAX_GARBAGE + 5):
                await page.socket.send("?")
        await page.until(lambda: page.closed)
        assert page.closed is not None and page.closed[0] == Close.GARBAGE
        assert page.of("error")[-1]["fatal"]


async def test_oversized_messages_and_floods_are_stopped() -> None:
    async with running() as server, Page(server.link) as page:
        await page.socket.send(b"\0" * (MAX_MESSAGE_BYTES + 1))
        await page.until(lambda: page.closed)
        assert page.closed is not None and page.closed[0] == 1009
    async with running() as server, Page(server.link) as page:
        await page.send(type="start", microphone=True)
        packet = HEADER.pack(Kind.MICROPHONE, 0, 0, 0, 0) + bytes(16_000)
        for _ in range(10):  # five seconds of sound at once
            await page.socket.send(packet)
        await page.until(lambda: page.of("error"))
        assert "faster than time" in page.of("error")[0]["message"]


async def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.transports.outbox.MAX_SOUND", 10)
    monkeypatch.setattr(kiosk_module, "CLOSE_S", 0.3)
    async with running() as server:
        page = Page(server.link, read=False)
        async with page:
            await asyncio.sleep(0.2)
            visit = server._visit
            assert visit is not None
            # Fill what the kernel and the library hold, then the outbox.
            assert visit._outbox is not None
            for _ in range(30):
                visit._outbox.text("x" * 1_000_000)
            started = time.monotonic()
            while server._socket is not None:
                assert time.monotonic() - started < 8
                await asyncio.sleep(0.05)


async def test_typed_before_start_is_explained() -> None:
    async with running() as server, Page(server.link) as page:
        await page.send(type="text", text="Hi")
        await page.until(lambda: page.of("error"))
        assert page.of("error")[0]["code"] == "not_started" and not page.of("error")[0]["fatal"]


async def test_port_in_use_is_a_clear_refusal() -> None:
    async with running() as server:
        port = int(server.link.split(":")[2].split("/")[0])
        with pytest.raises(Unavailable, match=rf"Port {port} .* in use.*--port"):
            async with running(**{"kiosk.port": port}):
                pass
    with pytest.raises(Unavailable, match=r"kiosk\.host"):
        async with running(**{"kiosk.host": "192.0.2.1"}):
            pass


async def test_shutdown_says_goodbye() -> None:
    async with running() as server, Page(server.link) as page:
        await page.until(lambda: page.sound)
        await server.aclose()
        await page.until(lambda: page.closed)
        assert page.of("bye")[-1]["reason"] == "shutdown"


async def test_quiet_ends_the_visit_and_start_again_is_a_new_one() -> None:
    async with running() as server, Page(server.link) as page:
        link = server.link
        await page.send(type="start", microphone=False)
        await page.until(lambda: page.state == "listening")
        assert server._visit is not None
        server._visit.ended("idle")
        await page.until(lambda: page.closed)
        assert page.of("bye")[-1]["reason"] == "idle"
        async with Page(link, session=page.messages[0]["session"]) as again:
            await again.until(lambda: again.sound)
            assert again.sound[0].sample == 0


@pytest.mark.parametrize("how", ["drop", "over"])
async def test_a_conversation_left_while_it_begins_is_closed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Conversation] = []
    closed: list[Conversation] = []
    start, aclose = Conversation.start, Conversation.aclose

    async def slow_start(self: Conversation, *, greet: bool = True) -> None:
        begun.append(self)
        if len(begun) == 1:
            await asyncio.sleep(0.5)
        await start(self, greet=greet)

    async def noted_aclose(self: Conversation) -> None:
        await aclose(self)
        closed.append(self)

    monkeypatch.setattr(Conversation, "start", slow_start)
    monkeypatch.setattr(Conversation, "aclose", noted_aclose)
    async with running() as server:
        link = server.link
        async with Page(link) as page:
            await page.send(type="start", microphone=False)
            await page.until(lambda: begun)
            visit = server._visit
            assert visit is not None
            if how == "drop":
                page.socket.transport.abort()
            else:
                visit.ended("idle")
            await page.until(lambda: closed)
        assert closed == begun and not begun[0]._session._started
        if how == "drop":
            async with Page(link, session=page.messages[0]["session"]) as again:
                await again.until(lambda: again.sound)
                assert again.state == "idle", "the face waits for another start"
                await again.send(type="start", microphone=False)
                await again.until(lambda: again.state == "listening")
                await again.send(type="text", text="Hi")
                await again.until(lambda: again.spoken)
                assert server._visit is visit and len(begun) == 2
    assert closed == begun


async def test_a_conversation_that_cannot_begin_or_close_does_not_lock_anyone_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(self: Conversation, **options: Any) -> None:
        raise ValueError("broken on purpose")

    async with running() as server:
        with monkeypatch.context() as patch:
            patch.setattr(Conversation, "start", broken)
            patch.setattr(Conversation, "aclose", broken)
            async with Page(server.link) as page:
                await page.send(type="start", microphone=False)
                await page.until(lambda: page.closed)
                assert page.of("error")[-1]["code"] == "session"
            visit = server._visit
            assert visit is not None
            await visit.aclose()
            await visit._runner.aclose()
        async with Page(server.link) as following:
            await following.until(lambda: following.sound)
            await following.send(type="start", microphone=False)
            await following.until(lambda: following.state == "listening")
            patched = server._visit
            assert patched is not None and patched is not visit
            monkeypatch.setattr(Conversation, "aclose", broken)
        await server.aclose()
        with pytest.raises(OSError):
            async with Page(server.link):
                pass


def test_the_default_port_is_left_out_of_an_origin() -> None:
    assert "http://127.0.0.1" in allowed_origins("127.0.0.1", 80, [])
    assert "http://127.0.0.1" not in allowed_origins("127.0.0.1", 8080, [])


async def test_a_wildcard_address_says_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    async with running(**{"kiosk.host": "0.0.0.0"}):
        assert "set kiosk.allowed_origins" in caplog.text


async def test_debug_panel_figures() -> None:
    async with running(**{"session.debug": True}) as server, Page(server.link) as page:
        await page.send(type="played", sample=100, av_offset_ms=3.5)
        await page.until(lambda: len(page.of("stats")) > 1)
        assert page.of("stats")[-1]["frames"] > 10 and page.of("stats")[-1]["av_offset_ms"] == 3.5
        assert page.of("stats")[-1]["asked"] == "emotion=warm:0.4 liveliness=0.6 gaze=0,0 distance=1"


@pytest.fixture
def dist(tmp_path: Any) -> Any:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "assets" / "app.js").write_text("1")
    (tmp_path / ".hidden.txt").write_text("secret")
    (tmp_path / "run.sh").write_text("secret")
    (tmp_path.parent / "outside.txt").write_text("secret")
    (tmp_path / "assets" / "link.txt").symlink_to(tmp_path.parent / "outside.txt")
    return tmp_path


async def fetch(server: Kiosk, path: str) -> tuple[int, str, Any]:
    """A raw request, because a polite client would tidy the path."""
    host, port = server.link.removeprefix("http://").split("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    return int(head.split()[1]), body, headers


async def test_the_page_is_served_with_its_headers(dist: Any) -> None:
    async with running(site=StaticSite(dist, poster=b"\xff\xd8jpeg")) as server, aiohttp.ClientSession() as session:
        async with session.get(server.link) as answer:
            assert answer.status == 200 and "page" in await answer.text()
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        base = server.link.split("/?")[0]
        async with session.get(base + "/assets/app.js?v=1") as answer:
            assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/javascript")
        async with session.get(base + "/poster.jpg") as answer:
            assert answer.status == 200 and answer.headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/assets", "/assets/", "/../outside.txt", "/assets/../../outside.txt", "/%2e%2e/outside.txt",
        "/..%2foutside.txt", "/assets%00.js", "//etc/passwd", "/.hidden.txt", "/run.sh", "/assets/link.txt",
        "/..\\outside.txt", "/ws/../..", "/" + "a" * 3000,
    ],
)  # fmt: skip
async def test_nothing_else_is_served(dist: Any, path: str) -> None:
    async with running(site=StaticSite(dist)) as server:
        status, body, _ = await fetch(server, path)
        assert status == 404 and "secret" not in body


async def test_a_page_that_was_not_built_says_what_to_do(tmp_path: Any) -> None:
    async with running(site=StaticSite(tmp_path)) as server:
        status, body, headers = await fetch(server, "/")
        assert status == 503 and "make setup" in body and headers["Content-Type"].startswith("text/html")


async def test_only_loopback_listens() -> None:
    async with running() as server:
        assert server._server is not None
        addresses = {item.getsockname()[0] for item in server._server.sockets}
        assert addresses == {"127.0.0.1"}
        assert all(item.family == socket.AF_INET for item in server._server.sockets)
