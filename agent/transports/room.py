"""The LiveKit room: an agent worker that gives every visit its own job, and the page that leads there.

Jobs are processes of their own (LiveKit's default), so one visit cannot slow another's event loop. Each process loads
face and voices once, before its first visit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from livekit import api
from livekit.agents import AgentServer, JobContext, JobProcess

from agent.errors import Unavailable
from agent.parts import build_parts, build_runner, close_parts, settle_memory
from agent.speech.select import recogniser_choice, voice_choice
from agent.transports.livekit_server import LocalLiveKit, answers
from agent.transports.room_page import RoomPage
from agent.transports.room_visit import RoomVisit
from avatar.decoders import open_decoder
from config import ConfigError, Settings
from dialogue.registry import create

logger = logging.getLogger("visavis.room")

LOAD_TIMEOUT_S = 90.0
"""Torch, numba and the first portrait take longer than LiveKit's default of 10 s."""
CLOSE_S = 5.0
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
    process.userdata["decoder"] = open_decoder(settings.avatar)


async def _visit(context: JobContext) -> None:
    """Begin a visit and return: LiveKit waits for the entry point before it lets a shutdown take effect."""
    settings: Settings = context.proc.userdata["settings"]
    parts, _ = await asyncio.gather(build_parts(settings), context.connect())
    visit = RoomVisit(context.room, settings, parts, build_runner(settings, decoder=context.proc.userdata["decoder"]))
    settle_memory()

    async def end() -> None:
        await visit.aclose()
        await close_parts(parts)

    async def serve() -> None:
        try:
            await visit.run()
        except Exception:
            logger.exception("the visit has failed")
        finally:
            context.shutdown(reason="the visit is over")

    context.add_shutdown_callback(end)
    context.proc.userdata["visit"] = asyncio.create_task(serve(), name="visavis-visit")


async def _check(settings: Settings) -> None:
    """Refuse here and now what would else fail in a job process, after the link has been given."""
    if settings.avatar.background == "transparent":
        raise ConfigError("A room's video has no transparency: choose another avatar.background.")
    await asyncio.to_thread(open_decoder, settings.avatar)
    dialogue = create(settings.dialogue)
    await dialogue.open()
    await dialogue.aclose()
    for choice in (recogniser_choice(settings.speech), voice_choice(settings.speech)):
        if not choice.usable:
            raise Unavailable(f"{choice.component}: {choice.why} {choice.todo}")


async def _check_key(url: str, key: str, secret: str) -> None:
    """Whatever answers at `url` must be a LiveKit server that knows our key. Raises Unavailable."""
    try:
        async with asyncio.timeout(5), api.LiveKitAPI(url.replace("ws", "http", 1), key, secret) as server:
            await server.room.list_rooms(api.ListRoomsRequest())
    except Exception as error:
        raise Unavailable(
            f"What answers at {url} is no LiveKit server that accepts room.api_key ({type(error).__name__}). "
            "Set room.api_key and room.api_secret, or choose another address with --url."
        ) from None


def _port_of(url: str) -> tuple[str, int | None]:
    """(host, port) of a LiveKit address. Raises Unavailable for what is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("ws", "wss") or not host:
        raise Unavailable(f"'{url}' is no LiveKit address. It looks like ws://127.0.0.1:7880 or wss://host.")
    return host, port


async def serve_room(settings: Settings) -> None:
    """Run worker and page, and a LiveKit server on loopback when none answers there. Raises Unavailable."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    url = settings.room.url
    host, port = _port_of(url)
    await _check(settings)
    key, secret = settings.room.api_key.get_secret_value(), settings.room.api_secret.get_secret_value()
    async with contextlib.AsyncExitStack() as stack:

        def background(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            task = asyncio.create_task(work)
            stack.callback(task.cancel)
            return task

        ends = {background(stop.wait())}
        if await answers(url):
            await _check_key(url, key, secret)
        elif host not in _LOCAL:
            raise Unavailable(f"No LiveKit server answers at {url}. Start it, or set room.url.")
        else:
            server = await LocalLiveKit.start(port)
            stack.push_async_callback(server.aclose)
            url, key, secret = server.url, server.api_key, server.api_secret
            ends.add(background(server.wait()))
        worker = make_worker(settings, url=url, api_key=key, api_secret=secret)
        page = RoomPage(settings, url=url, api_key=key, api_secret=secret)
        link = await page.start()
        stack.push_async_callback(page.aclose)
        # A visit begun before the worker is registered would wait for an agent that nobody sends.
        registered = asyncio.Event()
        worker.on("worker_registered", lambda *_: registered.set())
        running = asyncio.create_task(worker.run(), name="visavis-worker")
        stack.push_async_callback(_end, worker, running)
        ends.add(running)
        await asyncio.wait({*ends, background(registered.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if registered.is_set():
            sys.stdout.write(f"Open {link}\n")
            sys.stdout.flush()
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return
        if running.done() and (error := running.exception()) is not None:
            raise Unavailable(f"The worker has lost the LiveKit server at {url}: {error}")
        raise Unavailable(f"The LiveKit server at {url} has stopped.")


async def _end(worker: AgentServer, running: asyncio.Task[None]) -> None:
    """Stop the worker; while it is still loading it would make us wait for that, so it gets five seconds."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_S):
            await worker.aclose()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await running
    for child in multiprocessing.active_children():
        child.terminate()


def run_room(settings: Settings) -> None:
    """`visavis room`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(serve_room(settings))
