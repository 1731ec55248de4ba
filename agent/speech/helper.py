"""A helper process, asked over a pipe: restarted after a crash, killed on a timeout, gone when we are gone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from pathlib import Path

from agent.speech import pipe
from agent.speech.errors import SpeechError

_ROOT = Path(__file__).resolve().parents[2]


def helper_environment() -> dict[str, str]:
    """What a worker sees: our packages first, one thread."""
    return {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}


def kill_now(process: asyncio.subprocess.Process) -> None:
    """Kill without looking first: `Process.kill` polls, which takes the exit status away from asyncio's own watcher."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


class Helper:
    """One worker process running a Python file of ours.

    Calls may overlap; the worker answers each by its `id`. A call that is cancelled is forgotten and its answer
    dropped: every call's work is bounded, so nothing has to be killed for it. A call that outlasts its timeout kills
    the worker.
    The worker leaves by itself when its standard input closes, so it cannot outlive us.
    """

    def __init__(self, script: Path, *arguments: str, name: str) -> None:
        self._script = script
        self._arguments = arguments
        self._name = name
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[tuple[pipe.Message, bytes]]] = {}
        self._ids = itertools.count(1)
        self._starting = asyncio.Lock()
        self._closed = self._killed = False
        self.starts = 0
        """How often the process has been started; a caller that keeps state in the worker watches this."""

    @property
    def running(self) -> bool:
        """Whether the process is alive and still listened to: one that has been killed may not be reaped yet."""
        if self._process is None or self._reader is None:
            return False
        return not self._killed and self._process.returncode is None and not self._reader.done()

    @property
    def pid(self) -> int | None:
        """Process id while it is alive."""
        return self._process.pid if self._process is not None and self.running else None

    async def start(self) -> None:
        """Start the process unless it runs. Raises SpeechError when it cannot be started."""
        if not self.running or self._closed:
            # Shielded: a caller who is cancelled while the process is being made must not leave it half made.
            await asyncio.shield(asyncio.ensure_future(self._start()))

    async def _start(self) -> None:
        async with self._starting:
            if self._closed:
                raise SpeechError("closed", f"The {self._name} helper has been closed.")
            if self.running:
                return
            await self._stop()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-s", "-P", str(self._script), *self._arguments,
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                    cwd="/", env=helper_environment(),
                )  # fmt: skip
            except OSError as error:
                raise SpeechError("engine_failed", f"The {self._name} helper cannot be started: {error}.") from error
            self._killed = False
            self.starts += 1
            self._reader = asyncio.create_task(self._read(self._process), name=f"{self._name} helper")

    async def call(
        self, message: pipe.Message, payload: bytes = b"", *, timeout_s: float
    ) -> tuple[pipe.Message, bytes]:
        """Ask and wait for the answer. Raises SpeechError when the worker reports one, dies or is too slow."""
        await self.start()
        number = next(self._ids)
        answer: asyncio.Future[tuple[pipe.Message, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self._send({**message, "id": number}, payload)
                reply, data = await answer
        except TimeoutError as error:
            self.kill()
            raise SpeechError("engine_failed", f"{self._name} took more than {timeout_s:.0f} s.") from error
        finally:
            self._waiting.pop(number, None)
        if "error" in reply:
            raise SpeechError("engine_failed", f"{self._name}: {reply['error']}.")
        return reply, data

    async def tell(self, message: pipe.Message, payload: bytes = b"") -> None:
        """Send without an answer; waits while the worker is busy (the pipe is the bounded queue)."""
        await self.start()
        await self._send(message, payload)

    async def _send(self, message: pipe.Message, payload: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise SpeechError("engine_failed", f"{self._name} stopped.")
        process.stdin.write(pipe.pack(message, payload))
        with contextlib.suppress(ConnectionError):  # the reader tells those who wait for an answer
            await process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while True:
                lengths = pipe.unpack_header(await process.stdout.readexactly(pipe.HEADER.size))
                head = await process.stdout.readexactly(lengths[0])
                payload = await process.stdout.readexactly(lengths[1])
                reply: pipe.Message = json.loads(head)
                answer = self._waiting.get(reply.get("id", 0))
                if answer is not None and not answer.done():
                    answer.set_result((reply, payload))
        except (asyncio.IncompleteReadError, ValueError, ConnectionError):
            pass
        finally:
            kill_now(process)
            if process is self._process:
                for answer in self._waiting.values():
                    if not answer.done():
                        answer.set_exception(SpeechError("engine_failed", f"{self._name} stopped unexpectedly."))

    def kill(self) -> None:
        """Stop the process now; the next call starts a fresh one."""
        if self._process is not None:
            self._killed = True
            kill_now(self._process)

    async def _stop(self) -> None:
        self.kill()
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._process.wait()
        if self._reader is not None:
            await self._reader
        self._process = self._reader = None

    async def aclose(self) -> None:
        """Stop the process and wait until it is gone; safe to call twice."""
        async with self._starting:
            self._closed = True
            await self._stop()
