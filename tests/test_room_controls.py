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
from tests.test_agent_session import short_answer

pytestmark = [
    pytest.mark.room,
    pytest.mark.skipif(find_binary() is None, reason="no livekit-server (scripts/install_livekit.sh builds it)"),
]
WISH = {"type": "controls", "version": 1, "emotion": "happy:0.5", "liveliness": 0.5, "gaze": [10, 0], "distance": 1.0}


def settings(**overrides: Any) -> Settings:
    quiet = {"session.greeting": "", "avatar.motion": "articulation", "avatar.emotion": "warm:0.4", "room.port": 0}
    return load("tutor", environ={}, overrides=quiet | overrides).settings


@asynccontextmanager
async def visited(chosen: Settings) -> AsyncIterator[tuple[rtc.Room, AvatarRunner]]:
    """A visitor's client in a room where our visit runs, and the visit's runner."""
    server = await LocalLiveKit.start()
    rooms = {name: rtc.Room() for name in ("agent", "visitor")}
    for name, room in rooms.items():
        token = api.AccessToken(server.api_key, server.api_secret).with_identity(name)
        grants = api.VideoGrants(room_join=True, room="visit", can_update_own_metadata=True)
        if name == "agent":
            token = token.with_kind("agent")
        await room.connect(server.url, token.with_grants(grants).to_jwt())
    parts = Parts(
        voice=FliteVoice("kal16"),
        stt=KnowingSTT([""]),
        vad=inference.VAD(min_silence_duration=0.25),
        turn_handling=TurnHandlingOptions(turn_detection=inference.TurnDetector(version="v1-mini")),
        dialogue=ScriptedDialogue(short_answer),
    )
    runner = build_runner(chosen, decoder=DiscDecoder())
    visit = RoomVisit(rooms["agent"], chosen, parts, runner)
    running = asyncio.create_task(visit.run())
    try:
        async with asyncio.timeout(60):
            while not rooms["visitor"].remote_participants["agent"].attributes.get("lk.agent.state"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield rooms["visitor"], runner
    finally:
        await visit.aclose()
        await asyncio.gather(running, return_exceptions=True)
        for room in rooms.values():
            await room.disconnect()
        await server.aclose()


async def ask(room: rtc.Room, **changes: Any) -> str:
    return await room.local_participant.perform_rpc(
        destination_identity="agent", method="visavis.controls", payload=json.dumps(WISH | changes)
    )


async def becomes(runner: AvatarRunner, asked: Asked) -> None:
    async with asyncio.timeout(20):
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
