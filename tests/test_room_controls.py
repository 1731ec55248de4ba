"""The motion's controls over a room: a real livekit-server, our visit and a visitor's client, in one process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from livekit import api, rtc
from livekit.agents import TurnHandlingOptions, inference

from agent.parts import build_runner
from agent.runner import AvatarRunner
from agent.session import Parts
from agent.speech.flite import FliteVoice
from agent.transports.livekit_server import LocalLiveKit, find_binary
from agent.transports.room_page import RoomPage
from agent.transports.room_visit import ERROR_CONTROLS, RoomVisit
from agent.transports.static import DIST
from avatar.motion.controls import Asked
from config import Settings, load
from tests.agent_stand_ins import DiscDecoder, KnowingSTT, ScriptedDialogue
from tests.browser.chromium import browser, need_page, open_page
from tests.test_agent_session import short_answer

pytestmark = [
    pytest.mark.room,
    pytest.mark.skipif(find_binary() is None, reason="no livekit-server (scripts/install_livekit.sh builds it)"),
]
WISH = {"type": "controls", "version": 1, "emotion": "happy:0.5", "liveliness": 0.5, "gaze": [10, 0], "distance": 1.0}


def settings(**overrides: Any) -> Settings:
    quiet = {"session.greeting": "", "avatar.motion": "articulation", "avatar.emotion": "warm:0.4", "room.port": 0}
    return load("tutor", environ={}, overrides=quiet | overrides).settings


def token(server: LocalLiveKit, name: str) -> str:
    grants = api.VideoGrants(room_join=True, room="visit", can_update_own_metadata=True)
    made = api.AccessToken(server.api_key, server.api_secret).with_identity(name).with_grants(grants)
    return (made.with_kind("agent") if name == "agent" else made).to_jwt()


@asynccontextmanager
async def visit_of(chosen: Settings, server: LocalLiveKit) -> AsyncIterator[AvatarRunner]:
    """Our visit in the room; gives its runner."""
    room = rtc.Room()
    await room.connect(server.url, token(server, "agent"))
    parts = Parts(
        voice=FliteVoice("kal16"),
        stt=KnowingSTT([""]),
        vad=inference.VAD(min_silence_duration=0.25),
        turn_handling=TurnHandlingOptions(turn_detection=inference.TurnDetector(version="v1-mini")),
        dialogue=ScriptedDialogue(short_answer),
    )
    runner = build_runner(chosen, decoder=DiscDecoder())
    visit = RoomVisit(room, chosen, parts, runner)
    running = asyncio.create_task(visit.run())
    try:
        yield runner
    finally:
        await visit.aclose()
        await asyncio.gather(running, return_exceptions=True)
        await room.disconnect()


@asynccontextmanager
async def visited(chosen: Settings) -> AsyncIterator[tuple[rtc.Room, AvatarRunner]]:
    """A visitor's client in a room where our visit runs, and the visit's runner."""
    server = await LocalLiveKit.start()
    room = rtc.Room()
    await room.connect(server.url, token(server, "visitor"))
    try:
        async with visit_of(chosen, server) as runner:
            async with asyncio.timeout(60):
                while not _state_of_agent(room):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            yield room, runner
    finally:
        await room.disconnect()
        await server.aclose()


def _state_of_agent(room: rtc.Room) -> str:
    agent = room.remote_participants.get("agent")
    return agent.attributes.get("lk.agent.state", "") if agent is not None else ""


async def ask(room: rtc.Room, **changes: Any) -> str:
    return await room.local_participant.perform_rpc(
        destination_identity="agent", method="visavis.controls", payload=json.dumps(WISH | changes)
    )


async def becomes(runner: AvatarRunner, asked: Asked) -> None:
    async with asyncio.timeout(60):
        while runner.asked != asked:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_what_is_asked_takes_effect_and_nonsense_is_refused() -> None:
    async with visited(settings(**{"session.debug": True})) as (room, runner):
        assert runner.asked == Asked(warm=0.4, liveliness=0.55, distance=0.95)
        assert await ask(room) == ""
        await becomes(runner, Asked(happy=0.5, gaze_azimuth_deg=10.0))
        for wrong in ({"emotion": "angry"}, {"distance": 9}, {"version": 2}):
            with pytest.raises(rtc.RpcError, match=next(iter(wrong))) as refused:
                await ask(room, **wrong)
            assert refused.value.code == ERROR_CONTROLS
        await ask(room, emotion="neutral", gaze=[0, 0])
        await becomes(runner, Asked())


async def test_without_debug_they_are_refused() -> None:
    async with visited(settings()) as (room, runner):
        with pytest.raises(rtc.RpcError, match=r"session\.debug") as refused:
            await ask(room)
        assert refused.value.code == ERROR_CONTROLS
        assert runner.asked == Asked(warm=0.4, liveliness=0.55, distance=0.95)


@pytest.mark.skipif(not (DIST / "index.html").is_file(), reason="the page is not built (make setup)")
async def test_the_ticket_offers_them_with_debug() -> None:
    page = RoomPage(settings(**{"session.debug": True}), url="ws://127.0.0.1:1", api_key="k", api_secret="s" * 32)
    link = urlsplit(await page.start())
    try:
        async with aiohttp.ClientSession() as client, client.get(f"http://{link.netloc}/token?{link.query}") as reply:
            offer = (await reply.json())["controls"]
        assert offer["now"] == offer["configured"]
        assert offer["now"] == {"emotion": "warm:0.4", "liveliness": 0.55, "gaze": [0.0, 0.0], "distance": 0.95}
    finally:
        await page.aclose()


@pytest.mark.browser
async def test_the_page_asks_through_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set before the agent has come reaches it when it has; afterwards it takes effect at once."""
    need_page()
    chosen = settings(**{"session.debug": True})
    server = await LocalLiveKit.start()
    page_server = RoomPage(chosen, url=server.url, api_key=server.api_key, api_secret=server.api_secret)
    monkeypatch.setattr(page_server, "mint", lambda: token(server, "visitor"))
    link = await page_server.start()
    try:
        async with browser() as running:
            page, errors = await open_page(running, link)
            await page.wait_for_selector("#motion:visible")
            assert await page.input_value("#motion-emotion") == "warm"
            await page.select_option("#motion-emotion", "firm")
            await page.click("#panel-action")
            async with visit_of(chosen, server) as runner:
                await becomes(runner, Asked(firm=0.4, liveliness=0.55, distance=0.95))
                await page.focus("#motion-azimuth")
                await page.keyboard.press("Home")
                await becomes(runner, Asked(firm=0.4, liveliness=0.55, distance=0.95, gaze_azimuth_deg=-20.0))
                await page.click("text=As configured")
                await becomes(runner, Asked(warm=0.4, liveliness=0.55, distance=0.95))
            assert errors == []
    finally:
        await page_server.aclose()
        await server.aclose()
