"""The kiosk: one page on this machine, talking to the avatar over one websocket.

One port serves the page and the socket. One visitor at a time: the decoder and the machine's cores are his.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket as socket_module
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from types import FrameType
from typing import Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from agent.errors import Unavailable
from agent.parts import build_parts, close_parts, settle_memory
from agent.session import Parts
from agent.transports import protocol
from agent.transports.gate import Admission, Bucket, Gate, allowed_origins
from agent.transports.outbox import Outbox
from agent.transports.static import StaticSite, response
from agent.transports.visit import Visit, encode_jpeg
from avatar.decoders import open_decoder
from avatar.motion import space
from avatar.motion.asked_text import asked_of
from avatar.stream import FrameDecoder
from config import Settings

logger = logging.getLogger("visavis.kiosk")

PING_S: Final = 4.0
"""A client that does not answer within this is gone (asked as often)."""
PROBE_S: Final = 1.0
MAX_GARBAGE: Final = 20
"""Messages outside the protocol before the client is let go."""
TEXTS_PER_S: Final = 30
GOODBYE_S: Final = 0.2
"""Between the last message and the end of the connection."""
CLOSE_S: Final = 3.0
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Close:
    """Close codes of our own."""

    GARBAGE: Final = 4400
    REFUSED: Final = 4401
    TOO_SLOW: Final = 4408
    BUSY: Final = 4409


class Kiosk:
    """The server. `start` gives the link; `aclose` says goodbye and frees the port.

    on_link: told of every further link, when a visitor has left for good.
    """

    def __init__(
        self,
        settings: Settings,
        decoder: FrameDecoder,
        parts: Parts,
        *,
        site: StaticSite | None = None,
        on_link: Callable[[str], None] = lambda link: None,
    ) -> None:
        self._settings = settings
        self._format = decoder.format
        self._decoder = decoder
        self._parts = parts
        self._site = site or StaticSite(poster=self._poster())
        self._on_link = on_link
        self._gate = Gate()
        self._server: Server | None = None
        self._origins: frozenset[str] = frozenset()
        self._address = ""
        self._visit: Visit | None = None
        self._socket: ServerConnection | None = None
        self._admitting = asyncio.Lock()
        self.garbage = 0
        """Messages outside the protocol so far."""

    @property
    def link(self) -> str:
        """The page with its one-time token."""
        return f"{self._address}/?token={self._gate.token}"

    async def start(self) -> str:
        """Listen; returns the link. Raises Unavailable when the port is taken or the address is not ours."""
        host, port = self._settings.kiosk.host, self._settings.kiosk.port
        try:
            self._server = await serve_websocket(
                self._talk,
                host,
                port,
                process_request=self._process_request,
                max_size=protocol.MAX_MESSAGE_BYTES,
                max_queue=64,
                compression=None,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                open_timeout=5,
                close_timeout=2,
                server_header=None,
                logger=logging.getLogger("visavis.websockets"),
            )
        except OSError as error:
            raise Unavailable(_cannot_listen(host, port, error)) from None
        port = next(iter(self._server.sockets)).getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        self._address = f"http://{name}:{port}"
        self._origins = allowed_origins(host, port, self._settings.kiosk.allowed_origins)
        if host in ("0.0.0.0", "::") and not self._settings.kiosk.allowed_origins:  # noqa: S104 - compared, not bound
            logger.warning(
                "kiosk.host %s listens on every address, but no browser may talk from another machine yet: "
                'set kiosk.allowed_origins to the address that its page is opened at, such as "http://%s%s"',
                host, socket_module.gethostname(), "" if port == 80 else f":{port}",
            )  # fmt: skip
        return self.link

    async def aclose(self) -> None:
        """Stop, within seconds."""
        try:
            if self._visit is not None:
                await self._visit.aclose("shutdown")
                await asyncio.sleep(GOODBYE_S)
        except Exception:
            logger.exception("the visit did not end cleanly")
        finally:
            if self._server is not None:
                self._server.close()
                await self._server.wait_closed()

    def _poster(self) -> bytes | None:
        """What is seen before the first picture; a JPEG knows no opacity, so a face without background has none."""
        if self._format.transparent:
            return None
        return encode_jpeg(self._decoder.render(space.neutral()), self._settings.kiosk.jpeg_quality)

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path != "/ws":
            return self._site.respond(request)
        origin = request.headers.get("Origin", "")
        if origin not in self._origins:
            logger.warning("refused a connection from another origin")
            return response(HTTPStatus.FORBIDDEN, b"This socket is for its own page only.\n", "text/plain")
        return None

    async def _talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        query = parse_qs(urlsplit(socket.request.path).query)
        token, session = query.get("token", [""])[0], query.get("session", [""])[0]
        outbox = Outbox(socket.send)
        async with self._admitting:
            secret = await self._admit(socket, token, session)
            if secret is None:
                return
            visit = self._visit
            if visit is not None and visit.over.is_set():
                await visit.aclose()  # the decoder is free then
                visit = None
            if visit is None:
                visit = self._visit = Visit(self._settings, self._decoder, self._parts, on_over=self._on_over)
            self._socket = socket
            outbox.text(self._hello(secret, visit).model_dump_json())
            visit.attach(outbox)
        try:
            await self._converse(socket, visit, outbox)
        finally:
            visit.detach(outbox)
            if self._socket is socket:
                self._socket = None

    async def _admit(self, socket: ServerConnection, token: str, session: str) -> str | None:
        """The browser's secret, or None after the client has been told why not."""
        verdict = self._gate.verdict(token, session)
        if verdict is Admission.REFUSED:
            message, hint = "This link is not valid.", "Use the link that `visavis run` prints in its terminal."
            await self._refuse(socket, Close.REFUSED, "link_invalid", message, hint)
            return None
        if self._socket is not None and (verdict is not Admission.BACK or await _alive(self._socket)):
            message = "Somebody is talking to the avatar in another window."
            await self._refuse(socket, Close.BUSY, "busy", message, "Close the other window, then try again.")
            return None
        if verdict is Admission.USED:
            message, hint = "This link has been used.", "The terminal that runs visavis shows a new one."
            await self._refuse(socket, Close.REFUSED, "link_used", message, hint)
            return None
        if self._socket is not None:
            await _close(self._socket, Close.BUSY, "taken over")
        return self._gate.enter(token)

    async def _refuse(self, socket: ServerConnection, code: int, error: str, message: str, hint: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            told = protocol.ErrorMessage(code=error, message=message, hint=hint, fatal=True)
            await socket.send(told.model_dump_json())
            await socket.close(code, error)

    def _hello(self, secret: str, visit: Visit) -> protocol.Hello:
        session = self._settings.session
        return protocol.Hello(
            session=secret,
            version=version("visavis"),
            profile=self._settings.profile,
            title=session.title,
            language=session.language,
            width=self._format.width,
            height=self._format.size,
            alpha=self._format.transparent,
            disclosure=session.disclosure,
            debug=session.debug,
            controls=protocol.Offer.of(visit.asked, asked_of(self._settings.avatar)) if session.debug else None,
        )

    async def _converse(self, socket: ServerConnection, visit: Visit, outbox: Outbox) -> None:
        """Until the client leaves, lags, misbehaves, or the visit is over."""
        tasks = [
            asyncio.create_task(outbox.run()),
            asyncio.create_task(self._read(socket, visit, outbox)),
            asyncio.create_task(outbox.overran.wait()),
            asyncio.create_task(visit.over.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if visit.over.is_set():
                await asyncio.sleep(GOODBYE_S)
            if outbox.overran.is_set():
                logger.warning("the client does not take its sound; its connection ends")
                await _close(socket, Close.TOO_SLOW, "sound is not taken")
            else:
                await _close(socket, 1000, "")
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(result, ConnectionClosed):
                    logger.error("the connection failed", exc_info=result)

    async def _read(self, socket: ServerConnection, visit: Visit, outbox: Outbox) -> None:
        allowance = Bucket(TEXTS_PER_S, 2 * TEXTS_PER_S)
        garbage = 0
        async for message in socket:
            try:
                if isinstance(message, str) and not allowance.take(1):
                    raise protocol.ProtocolError(f"more than {TEXTS_PER_S} messages a second")
                await visit.receive(message)
            except protocol.ProtocolError as error:
                garbage += 1
                self.garbage += 1
                fatal = garbage >= MAX_GARBAGE
                told = protocol.ErrorMessage(
                    code="protocol", message=f"The page sent something unexpected: {str(error)[:200]}.",
                    hint="Reload the page.", fatal=fatal,
                )  # fmt: skip
                if fatal:
                    await socket.send(told.model_dump_json())
                    await _close(socket, Close.GARBAGE, "too many messages outside the protocol")
                    return
                outbox.text(told.model_dump_json())

    def _on_over(self, visit: Visit) -> None:
        if self._visit is visit and self._gate.renew():
            self._on_link(self.link)


async def _alive(socket: ServerConnection) -> bool:
    """Whether the client answers; a page that was closed or reloaded does not."""
    try:
        async with asyncio.timeout(PROBE_S):
            await (await socket.ping())
    except (ConnectionClosed, TimeoutError):
        return False
    return True


async def _close(socket: ServerConnection, code: int, reason: str) -> None:
    """Close, politely if the client listens."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await socket.close(code, reason)
    except TimeoutError:
        socket.transport.abort()


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use. Is another visavis running? "
            "Stop it, or choose another port with --port (0 picks a free one)."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} may not be used without special rights. Choose one above 1023 with --port."
    return f"Cannot listen on {host}:{port} ({error.strerror or error}). Check kiosk.host and kiosk.port."


async def serve(settings: Settings) -> None:
    """Load everything, listen, print the link; return after SIGINT or SIGTERM. Raises what explains itself.

    A signal while it loads ends the process with 128 + its number.
    """
    _check_port(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    with _stopping_at_once():
        parts = await build_parts(settings)
        try:
            decoder = await asyncio.to_thread(open_decoder, settings.avatar)
        except BaseException:
            await close_parts(parts)
            raise
    try:
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stopping.set)
        settle_memory()
        kiosk = Kiosk(
            settings, decoder, parts,
            on_link=lambda link: _say(f"The visitor has left. The next link is {link}"),
        )  # fmt: skip
        _say(f"visavis is ready: {await kiosk.start()}")
        try:
            await stopping.wait()
        finally:
            await kiosk.aclose()
    finally:
        await close_parts(parts)
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _stopping_at_once() -> Iterator[None]:
    """While models load: the loop may be blocked and threads cannot be stopped, but there is no visitor to lose."""

    def stop(number: int, frame: FrameType | None) -> None:
        os.write(2, b"Stopped while loading.\n")
        os._exit(128 + number)

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_kiosk(settings: Settings) -> None:
    """`visavis run`."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger().handlers[0].setLevel(logging.INFO)  # some libraries set their loggers to DEBUG
    logging.getLogger("visavis").setLevel(logging.INFO)
    logging.getLogger("visavis.websockets").setLevel(logging.WARNING)
    # The drawing thread gives way to the event loop within a millisecond, not five: sound is sent on time.
    sys.setswitchinterval(0.001)
    asyncio.run(serve(settings))


def _check_port(settings: Settings) -> None:
    """Say so before minutes of loading when the port is taken."""
    host, port = settings.kiosk.host, settings.kiosk.port
    with (
        contextlib.suppress(socket_module.gaierror),
        socket_module.socket(socket_module.AF_INET6 if ":" in host else socket_module.AF_INET) as probe,
    ):
        probe.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise Unavailable(_cannot_listen(host, port, error)) from None


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
