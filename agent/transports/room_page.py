"""The room's page and its token endpoint, on loopback.

`GET /token?key=...` gives `{"url", "token"}`: one room and one identity per visit, valid for a few minutes, with the
dispatch of our agent inside, so that the agent joins when the visitor does. The key is part of the printed link.
"""

from __future__ import annotations

import datetime as dt
import hmac
import secrets
from typing import Any

from aiohttp import web
from livekit import api

from agent.errors import Unavailable
from agent.transports.gate import Bucket
from agent.transports.protocol import Offer
from agent.transports.static import DIST
from avatar.motion.asked_text import asked_of
from config import Settings

TOKEN_TTL = dt.timedelta(minutes=10)
DEPARTURE_S = 20
"""A room outlives its visitor by this: longer than the time in which they may come back."""
TOKENS_PER_S = 1.0
TOKENS_BURST = 30
"""A bound on what a leaked link can do."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class RoomPage:
    """Serves the page; `await start()` gives the link to print."""

    def __init__(self, settings: Settings, *, url: str, api_key: str, api_secret: str) -> None:
        self._settings = settings
        self._url, self._api_key, self._api_secret = url, api_key, api_secret
        self._key = secrets.token_urlsafe(16)
        self._tokens = Bucket(TOKENS_PER_S, burst=TOKENS_BURST)
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen. Returns the link with its key. Raises Unavailable."""
        if not (DIST / "index.html").is_file():
            raise Unavailable("The page is not built. Run `make setup` (needs Node 20 or newer).")
        app = web.Application(client_max_size=4096)
        app.router.add_get("/token", self._token)
        app.router.add_get("/", self._index)
        app.router.add_static("/", DIST)
        app.on_response_prepare.append(self._add_headers)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        host, port = self._settings.kiosk.host, self._settings.room.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self.aclose()
            raise Unavailable(
                f"Cannot listen on {host}:{port} ({error.strerror}). Is another visavis running? "
                "Choose another with --set room.port=0."
            ) from None
        port = self._runner.addresses[0][1]
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{port}/?transport=room&key={self._key}"

    async def aclose(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def mint(self) -> str:
        """A token for one visit: its own room, its own identity, our agent dispatched into the room."""
        visit = secrets.token_hex(8)
        grants = api.VideoGrants(
            room_join=True, room=f"visavis-{visit}", can_publish=True, can_subscribe=True, can_publish_data=True
        )
        dispatch = api.RoomAgentDispatch(agent_name=self._settings.room.agent_name)
        return (
            api.AccessToken(self._api_key, self._api_secret)
            .with_identity(f"visitor-{visit}")
            .with_name("Visitor")
            .with_ttl(TOKEN_TTL)
            .with_grants(grants)
            .with_room_config(api.RoomConfiguration(agents=[dispatch], empty_timeout=30, departure_timeout=DEPARTURE_S))
            .to_jwt()
        )

    async def _token(self, request: web.Request) -> web.Response:
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if site not in ("same-origin", "none"):
            raise web.HTTPForbidden(text="Tokens are for this page only.")
        if not hmac.compare_digest(request.query.get("key", "").encode(), self._key.encode()):
            raise web.HTTPForbidden(text="This link is not valid any more. Use the one printed at start.")
        if not self._tokens.take(1):
            raise web.HTTPTooManyRequests(text="Too many visits at once. Try again in a minute.")
        session = self._settings.session
        return web.json_response(
            {
                "url": self._url,
                "token": self.mint(),
                "title": session.title,
                "disclosure": session.disclosure,
                "language": session.language,
                "debug": session.debug,
                "controls": self._controls(),
            }
        )

    def _controls(self) -> dict[str, Any] | None:
        """The motion's controls as a visit begins with them, for a page that may change them."""
        if not self._settings.session.debug:
            return None
        asked = asked_of(self._settings.avatar)
        return Offer.of(asked, asked).model_dump(mode="json")

    async def _index(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(DIST / "index.html")

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        parts = self._url.replace("ws://", "http://").replace("wss://", "https://")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: mediastream:; "
            f"connect-src 'self' {self._url} {parts}"
        )
