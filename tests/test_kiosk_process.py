"""`visavis run` as a process: the real parts, one link, clear refusals, a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator

import pytest

from tests.kiosk_client import Page


@contextlib.asynccontextmanager
async def visavis(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "run", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_one_link_a_conversation_and_a_clean_end(number: signal.Signals) -> None:
    async with visavis("--port", "0", "--set", "session.greeting=Welcome to the museum.") as process:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            line = (await process.stdout.readline()).decode()
        match = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        assert match, line
        async with Page(match.group()) as page:
            await page.until(lambda: len(page.pictures) > 5, 20)
            assert page.pictures[0].payload[:2] == b"\xff\xd8"
            await page.send(type="start", microphone=False)
            await page.until(lambda: len(page.spoken) > 10, 20)
            await page.send(type="text", text="When are you open on Sunday?")
            await page.until(lambda: any("nine in the morning" in c["text"] for c in page.of("caption")), 20)
            process.send_signal(number)
            await page.until(lambda: page.closed, 10)
            assert page.of("bye")[-1]["reason"] == "shutdown"
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert process.stderr is not None
        log = (await process.stderr.read()).decode()
        assert "Traceback" not in log
        assert '"event": "turn"' in log and "nine in the morning" not in log and "open on Sunday" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_loading_ends_it(number: signal.Signals) -> None:
    program = (
        "import asyncio\nfrom agent.transports import kiosk\nfrom config import load\n"
        "async def endless(settings):\n    print('loading', flush=True)\n"
        "    await asyncio.to_thread(__import__('time').sleep, 60)\n"
        "kiosk.build_parts = endless\n"
        "kiosk.run_kiosk(load(None, environ={}, overrides={'kiosk.port': 0}).settings)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"loading\n"
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), 5)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 128 + number
    assert "Stopped while loading" in errors.decode() and "Traceback" not in errors.decode()


async def test_port_in_use_is_said_at_once_with_exit_code_4() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = time.monotonic()
        async with visavis("--port", str(port)) as process:
            _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 4
        assert f"Port {port} on 127.0.0.1 is in use" in errors.decode()
        assert time.monotonic() - started < 20, "before anything heavy is loaded"


async def test_a_backend_that_cannot_work_is_said_at_start() -> None:
    async with visavis("--port", "0", "--set", "dialogue.backend=openai") as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 4
    assert "endpoint or a key" in errors.decode()
