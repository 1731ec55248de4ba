"""A LiveKit server of our own on loopback, for `visavis room` and the tests.

It binds loopback only (`livekit-server --dev` would offer its media ports on every interface), with keys made
for this run.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 20.0


def find_binary() -> str | None:
    """The livekit-server that `make room` built, else one on the PATH, else None."""
    built = ROOT / ".cache" / "bin" / "livekit-server"
    return str(built) if os.access(built, os.X_OK) else shutil.which("livekit-server")


async def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether something listens at the server's address."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme in ("wss", "https") else 80)
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(parts.hostname or "127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that was free on loopback a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    """On Linux: the server ends with us, even if we are killed; else the next start would find it in our place."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@dataclass(slots=True)
class LocalLiveKit:
    """A running server; `await aclose()` ends it."""

    url: str
    api_key: str
    api_secret: str
    _process: asyncio.subprocess.Process
    _folder: tempfile.TemporaryDirectory[str]

    @classmethod
    async def start(cls, port: int | None = None) -> LocalLiveKit:
        """Start on loopback; port None takes a free one. Raises Unavailable."""
        binary = find_binary()
        if binary is None:
            raise Unavailable("There is no livekit-server here. `make room` builds it (needs Go 1.26 or newer).")
        port = port or free_port()
        key, secret = "visavis", secrets.token_urlsafe(32)
        config = {
            "port": port,
            "bind_addresses": ["127.0.0.1"],
            "rtc": {
                "tcp_port": 0,  # its listener cannot be bound to one address; loopback UDP is enough
                "interfaces": {"includes": ["lo"]},
                "ips": {"includes": ["127.0.0.1/32"]},
                "udp_port": free_port(socket.SOCK_DGRAM),
                "use_external_ip": False,
                "node_ip": "127.0.0.1",
                "enable_loopback_candidate": True,
            },
            "keys": {key: secret},
            "logging": {"level": "warn"},
        }
        folder = tempfile.TemporaryDirectory(prefix="visavis-livekit-")
        path = Path(folder.name) / "config.yaml"
        path.touch(mode=0o600)  # it holds the secret
        path.write_text(json.dumps(config))  # JSON is YAML
        log_path = Path(folder.name) / "log"
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                binary, "--config", str(path), stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
                preexec_fn=_end_with_parent,
            )  # fmt: skip
        url = f"ws://127.0.0.1:{port}"
        server = cls(url, key, secret, process, folder)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await answers(url):
                    if process.returncode is not None:
                        break
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pass
        except BaseException:
            await server.aclose()
            raise
        if process.returncode is not None or not await answers(url):
            tail = log_path.read_text(errors="replace")[-500:].strip()
            await server.aclose()
            raise Unavailable(f"livekit-server did not start on port {port}: {tail or 'no message'}")
        return server

    async def wait(self) -> None:
        """Until the server has ended."""
        await self._process.wait()

    async def aclose(self) -> None:
        """End the server and remove its files."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._folder.cleanup()
