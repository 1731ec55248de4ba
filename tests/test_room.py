"""The LiveKit room: a real livekit-server, the real worker in its own process, and a second client as the visitor."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from livekit import api, rtc

from agent.errors import Unavailable
from agent.transports.livekit_server import LocalLiveKit, answers, find_binary, free_port
from agent.transports.room import serve_room
from agent.transports.room_page import RoomPage
from agent.transports.static import DIST
from avatar.clock import STREAM_RATE
from avatar.errors import PortraitError
from config import load
from dialogue.protocol import DialogueError
from tests.speak import speak

pytestmark = [
    pytest.mark.room,
    pytest.mark.skipif(find_binary() is None, reason="no livekit-server (scripts/install_livekit.sh builds it)"),
]
KEYS = {"url": "ws://127.0.0.1:1", "api_key": "k", "api_secret": "s" * 32}


async def get(url: str, **headers: str) -> tuple[int, str]:
    def fetch() -> tuple[int, str]:
        try:
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(fetch)


@pytest.mark.skipif(not (DIST / "index.html").is_file(), reason="the page is not built (make setup)")
async def test_each_visit_gets_its_own_room_and_our_agent() -> None:
    settings = load("kiosk", environ={}, overrides={"room.port": 0}).settings
    page = RoomPage(settings, **KEYS)
    link = urlsplit(await page.start())
    base = f"http://{link.netloc}"
    try:
        assert link.hostname == "127.0.0.1"
        key = dict(part.split("=") for part in link.query.split("&"))["key"]
        assert (await get(f"{base}/token"))[0] == 403
        assert (await get(f"{base}/token?key=wrong"))[0] == 403
        assert (await get(f"{base}/token?key={key}", **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
        claims = []
        for _ in range(2):
            status, body = await get(f"{base}/token?key={key}")
            assert status == 200
            claims.append(api.TokenVerifier("k", "s" * 32).verify(json.loads(body)["token"]))
            assert json.loads(body)["controls"] is None, "they are offered with session.debug"
        first, second = claims
        assert first.video.room != second.video.room
        assert first.identity != second.identity
        assert first.room_config.agents[0].agent_name == settings.room.agent_name
        assert (await get(f"{base}/../pyproject.toml"))[0] == 404
        assert (await get(base))[0] == 200
    finally:
        await page.aclose()


async def test_page_port_in_use_is_explained() -> None:
    if not (DIST / "index.html").is_file():
        pytest.skip("the page is not built (make setup)")
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = load("kiosk", environ={}, overrides={"room.port": port}).settings
    with pytest.raises(Unavailable, match=r"room\.port=0"):
        await RoomPage(settings, **KEYS).start()
    server.close()


async def test_local_server_binds_loopback_only_and_ends() -> None:
    server = await LocalLiveKit.start()
    assert await answers(server.url)
    pid = server._process.pid
    listening = await _output("ss", "-Hltnup")
    ours = [line for line in listening.splitlines() if f"pid={pid}," in line]
    assert ours
    assert all(re.search(r"\s127\.0\.0\.1:\d+\s", line) for line in ours), ours
    await server.aclose()
    assert not await answers(server.url)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"room.url": "ws://livekit.invalid:7880"}, r"room\.url"),
        ({"room.url": "localhost:7880"}, "no LiveKit address"),
        ({"room.url": "ws://127.0.0.1:99999"}, "no LiveKit address"),
        ({"avatar.portrait": "/nowhere/me.png"}, "me.png"),
        ({"dialogue.backend": "knowlege"}, "Did you mean 'knowledge'"),
    ],
)
async def test_what_cannot_work_is_refused_before_the_link(overrides: dict[str, str], message: str) -> None:
    settings = load("kiosk", environ={}, overrides=overrides).settings
    with pytest.raises((Unavailable, PortraitError, DialogueError), match=message):
        await serve_room(settings)


async def test_a_server_that_does_not_know_our_key_is_explained() -> None:
    server = await LocalLiveKit.start()
    try:
        settings = load("kiosk", environ={}, overrides={"room.url": server.url}).settings
        with pytest.raises(Unavailable, match=r"room\.api_key"):
            await serve_room(settings)
    finally:
        await server.aclose()


@dataclass
class Visitor:
    """A LiveKit client: says things, keeps what it sees and hears."""

    room: rtc.Room = field(default_factory=rtc.Room)
    texts: list[tuple[str, str, bool]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    sound: list[tuple[float, float]] = field(default_factory=list)
    mouth: list[tuple[float, float]] = field(default_factory=list)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    frames: list[np.ndarray[Any, Any]] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def join(self, url: str, token: str) -> None:
        self.room.on("track_subscribed", self._on_track)
        self.room.on(
            "participant_attributes_changed", lambda changed, who: self.states.append(changed.get("lk.agent.state", ""))
        )
        self.room.register_text_stream_handler(
            "lk.transcription", lambda reader, who: self._spawn(self._read(reader, who))
        )
        await self.room.connect(url, token)
        self.microphone = rtc.AudioSource(16_000, 1, queue_size_ms=100)
        track = rtc.LocalAudioTrack.create_audio_track("mic", self.microphone)
        await self.room.local_participant.publish_track(
            track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        )

    async def say(self, pcm_S: np.ndarray[Any, Any], then_silence_s: float = 3.0) -> None:
        padded_S = np.concatenate([pcm_S, np.zeros(int(then_silence_s * 16_000), np.int16)])
        for position in range(0, len(padded_S), 320):
            part = padded_S[position : position + 320]
            await self.microphone.capture_frame(rtc.AudioFrame(part.tobytes(), 16_000, 1, len(part)))

    def _spawn(self, work: Any) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def _on_track(self, track: Any, publication: Any, participant: Any) -> None:
        self._spawn(self._watch(track) if track.kind == rtc.TrackKind.KIND_VIDEO else self._listen(track))

    def _on_attributes(self, changed: dict[str, str], who: Any) -> None:
        self.states.append(changed.get("lk.agent.state", ""))

    def _on_text(self, reader: Any, who: str) -> None:
        self._spawn(self._read(reader, who))

    async def _read(self, reader: Any, who: str) -> None:
        attributes = reader.info.attributes
        self.texts.append((who, await reader.read_all(), attributes.get("lk.transcription_final") == "true"))

    async def _watch(self, track: Any) -> None:
        async for event in rtc.VideoStream(track, format=rtc.VideoBufferType.RGB24):
            frame = event.frame
            image = np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 3)
            self.sizes.add((frame.width, frame.height))
            self.frames.append(image[::4, ::4].astype(np.float32).mean(axis=2))
            self.mouth.append((time.monotonic(), 0.0))

    async def _listen(self, track: Any) -> None:
        async for event in rtc.AudioStream(track, sample_rate=STREAM_RATE, num_channels=1):
            pcm = np.frombuffer(event.frame.data, np.int16).astype(np.float32)
            self.sound.append((time.monotonic(), float(np.sqrt((pcm**2).mean()))))

    async def leave(self) -> None:
        await self.room.disconnect()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def heard(self, who: str) -> list[str]:
        return [text for speaker, text, final in self.texts if final and speaker == who]


async def until(condition: Any, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def visavis_room(*arguments: str) -> AsyncIterator[str]:
    """`visavis room` in a process of its own, with its own livekit-server; gives the link."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "room", "--url", f"ws://127.0.0.1:{free_port()}", "--set", "room.port=0",
        "--set", "session.greeting=Hello.", *arguments, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        link = None
        async with asyncio.timeout(60):
            while link is None and (line := await process.stdout.readline()):
                link = re.search(rb"http://\S+", line)
        assert link is not None, "visavis room gave no link"
        yield link.group().decode()
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def ticket(link: str) -> dict[str, str]:
    parts = urlsplit(link)
    key = dict(part.split("=") for part in parts.query.split("&"))["key"]
    status, body = await get(f"http://{parts.netloc}/token?key={key}")
    assert status == 200
    result: dict[str, str] = json.loads(body)
    return result


@pytest.mark.timeout(300)
async def test_a_visitor_asks_and_the_avatar_answers() -> None:
    question_S = await speak("When are you open on Sunday?", rate=16_000)
    interruption_S = await speak("How much is a ticket?", rate=16_000)
    async with visavis_room() as link:
        visit = await ticket(link)
        visitor = Visitor()
        await visitor.join(visit["url"], visit["token"])
        try:
            # The agent's process loads torch and the face first.
            await until(lambda: len(visitor.frames) > 25, 120, "the avatar's picture")
            agent = next(iter(visitor.room.remote_participants.values())).identity
            me = visitor.room.local_participant.identity
            await until(lambda: visitor.heard(agent), 20, "the greeting's caption")
            assert visitor.sizes == {(512, 512)}

            await visitor.say(question_S, then_silence_s=1.0)
            await until(lambda: visitor.heard(me), 10, "the visitor's transcript")
            assert "sunday" in visitor.heard(me)[-1].lower()
            silence = asyncio.create_task(visitor.say(np.zeros(0, np.int16), then_silence_s=12.0))
            await until(
                lambda: any("nine in the morning" in t for t in visitor.heard(agent)), 20, "the answer's caption"
            )
            silence.cancel()
            assert {"thinking", "speaking", "listening"} <= set(visitor.states)
            assert max(level for _, level in visitor.sound) > 500
            assert _moved_while_speaking(visitor)

            # Interrupted by voice: the old answer is cut short, the new question is answered.
            await visitor.room.local_participant.send_text("What are the Whispering Dishes?", topic="lk.chat")
            before = len(visitor.states)
            await until(lambda: "speaking" in visitor.states[before:], 10, "speaking after typed text")
            await asyncio.sleep(1.0)
            heard_me = len(visitor.heard(me))
            await visitor.say(interruption_S, then_silence_s=1.0)
            silence = asyncio.create_task(visitor.say(np.zeros(0, np.int16), then_silence_s=20.0))
            await until(lambda: len(visitor.heard(me)) > heard_me, 15, "the interruption's transcript")

            def cut_at() -> int:
                return next((i for i, t in enumerate(visitor.heard(agent)) if "Whispering Dishes are" in t), 10**6)

            # Which words the recogniser makes of an interruption is its own tests' business.
            await until(lambda: len(visitor.heard(agent)) > cut_at() + 1, 25, "the answer to the interruption")
            silence.cancel()
            assert "first floor" not in visitor.heard(agent)[cut_at()], "what was not said is not shown as said"

            # Stop ends what is being said.
            await asyncio.sleep(1.0)
            await visitor.room.local_participant.send_text("What is the Night Sky Room?", topic="lk.chat")
            before = len(visitor.states)
            await until(lambda: "speaking" in visitor.states[before:], 10, "speaking after typed text")
            await asyncio.sleep(0.5)
            await visitor.room.local_participant.perform_rpc(
                destination_identity=agent, method="visavis.stop", payload=""
            )
            stopped = time.monotonic()
            await asyncio.sleep(1.5)
            late = [level for moment, level in visitor.sound if moment > stopped + 0.7]
            assert late and max(late) < 200, "silent after Stop"
        finally:
            await visitor.leave()


def _moved_while_speaking(visitor: Visitor) -> bool:
    """The mouth's part of the picture changes more while there is sound than in silence."""
    mouth = [frame[66:100, 44:84] for frame in visitor.frames]
    change = np.array([np.abs(b - a).mean() for a, b in itertools.pairwise(mouth)])
    moments = np.array([moment for moment, _ in visitor.mouth[1:]])
    sound_at = np.array([moment for moment, _ in visitor.sound])
    level = np.array([value for _, value in visitor.sound])
    loud = np.interp(moments, sound_at, (level > 500).astype(float)) > 0.5
    assert loud.any() and (~loud).any()
    # Quiet moments are mostly pauses between words, in which lips still close: their middle, not their upper quarter.
    return bool(np.percentile(change[loud], 75) > 1.5 * np.percentile(change[~loud], 50))


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()
