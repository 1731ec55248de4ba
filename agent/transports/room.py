"""The LiveKit room: an agent worker that gives every visit its own job, and the page that leads there.

Jobs are processes of their own (LiveKit's default), so one visit cannot slow another's event loop. Each process loads
face and voices once, before its first visit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from functools import partial
from urllib.parse import urlsplit

from livekit.agents import AgentServer, JobContext, JobProcess

from agent.errors import Unavailable
from agent.parts import build_parts, build_runner, close_parts, load_decoder, settle_memory
from agent.speech.select import recogniser_choice, voice_choice
from agent.transports.livekit_server import LocalLiveKit, answers
from agent.transports.room_page import RoomPage
from agent.transports.room_visit import RoomVisit
from avatar.identity import load_identity
from config import Settings
from dialogue.registry import create

logger = logging.getLogger("visavis.room")

LOAD_TIMEOUT_S = 90.0
"""Torch, numba and the first portrait take longer than LiveKit's default of 10 s."""
_LOCAL = ("127.0.0.1", "localhost")


def make_worker(settings: Settings, *, url: str, api_key: str, api_secret: str) -> AgentServer:
    """The agent worker for a LiveKit server; `await worker.run()` registers it."""
    worker = AgentServer(
        ws_url=url,
        api_key=api_key,
        api_secret=api_secret,
        host="127.0.0.1",
        port=0,
        num_idle_processes=1,
        initialize_process_timeout=LOAD_TIMEOUT_S,
        job_memory_warn_mb=3000,
        setup_fnc=partial(_load, settings),
        # LiveKit's own measure is the CPU, which is full while a job process loads and says nothing of free places.
        load_fnc=partial(_load_of, settings.room.max_visits),
        load_threshold=0.99,
    )
    worker.rtc_session(_visit, agent_name=settings.room.agent_name)
    return worker


def _load_of(places: int, worker: AgentServer) -> float:
    """Share of the places that are taken, 0..1; at 1 the server sends no more visits here."""
    return min(len(worker.active_jobs) / places, 1.0)


def _load(settings: Settings, process: JobProcess) -> None:
    """Runs once in each job process, before its visit: what takes seconds and belongs to no event loop."""
    process.userdata["settings"] = settings
    process.userdata["decoder"] = load_decoder(settings)


async def _visit(context: JobContext) -> None:
    settings: Settings = context.proc.userdata["settings"]
    parts, _ = await asyncio.gather(build_parts(settings), context.connect())
    runner = build_runner(settings, decoder=context.proc.userdata["decoder"])
    settle_memory()
    try:
        await RoomVisit(context.room, settings, parts, runner).run()
    finally:
        await close_parts(parts)
        context.shutdown(reason="the visit is over")


async def _check(settings: Settings) -> None:
    """Refuse here and now what would else fail in a job process, after the link has been given."""
    await asyncio.to_thread(load_identity, settings.avatar.portrait, settings.avatar)
    dialogue = create(settings.dialogue)
    await dialogue.open()
    await dialogue.aclose()
    for choice in (recogniser_choice(settings.speech), voice_choice(settings.speech)):
        if not choice.usable:
            raise Unavailable(f"{choice.component}: {choice.why} {choice.todo}")


async def serve_room(settings: Settings) -> None:
    """Run worker and page, and a LiveKit server on loopback when none answers there. Raises Unavailable."""
    await _check(settings)
    url = settings.room.url
    key, secret = settings.room.api_key.get_secret_value(), settings.room.api_secret.get_secret_value()
    async with contextlib.AsyncExitStack() as stack:
        if not await answers(url):
            parts = urlsplit(url)
            if parts.hostname not in _LOCAL:
                raise Unavailable(f"No LiveKit server answers at {url}. Start it, or set room.url.")
            server = await LocalLiveKit.start(parts.port)
            stack.push_async_callback(server.aclose)
            url, key, secret = server.url, server.api_key, server.api_secret
        worker = make_worker(settings, url=url, api_key=key, api_secret=secret)
        page = RoomPage(settings, url=url, api_key=key, api_secret=secret)
        link = await page.start()
        stack.push_async_callback(page.aclose)
        running = asyncio.create_task(worker.run(), name="visavis-worker")
        stack.push_async_callback(_end, worker, running)
        # A visit begun before the worker is registered would wait for an agent that nobody sends.
        registered = asyncio.Event()
        worker.on("worker_registered", lambda *_: registered.set())
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, stop.set)
        stopping = asyncio.create_task(stop.wait())
        ready = asyncio.create_task(registered.wait())
        for task in (stopping, ready):
            stack.callback(task.cancel)
        await asyncio.wait({stopping, ready, running}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            sys.stdout.write(f"Open {link}\n")
            sys.stdout.flush()
            await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done() and not stop.is_set():
            running.result()


async def _end(worker: AgentServer, running: asyncio.Task[None]) -> None:
    with contextlib.suppress(Exception):
        await worker.aclose()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await running


def run_room(settings: Settings) -> None:
    """`visavis room`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(serve_room(settings))
