"""Who may talk to the kiosk, and how much: pages of our own origin, with the one-time token of the printed link."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Sequence
from enum import Enum, auto


class Admission(Enum):
    """What the gate says to a page."""

    NEW = auto()
    """First use of a link: this browser is the visitor's now."""
    BACK = auto()
    """The same browser again (reload, reconnection)."""
    USED = auto()
    """The right link, but another browser has it."""
    REFUSED = auto()
    """Not a link of ours."""


class Gate:
    """A link opens one browser session; the secret given to that browser lets it come back.

    `renew` makes another link; when it is used, the browser before loses its way back.
    """

    def __init__(self) -> None:
        self._fresh: str | None = None
        self._claimed: str | None = None
        self._secret: str | None = None
        self.renew()

    @property
    def token(self) -> str:
        """For the link to print."""
        return self._fresh or self._claimed or ""

    def renew(self) -> bool:
        """Make a new link unless there is an unused one; whether there is a new one now."""
        if self._fresh is not None:
            return False
        self._fresh = secrets.token_urlsafe(16)
        return True

    def verdict(self, token: str, secret: str) -> Admission:
        """What is to be said to a page that shows these; changes nothing."""
        if self._fresh is not None and _same(token, self._fresh):
            return Admission.NEW
        if self._claimed is not None and _same(token, self._claimed):
            return Admission.BACK if self._secret is not None and _same(secret, self._secret) else Admission.USED
        return Admission.REFUSED

    def enter(self, token: str) -> str:
        """Let a page in that is NEW or BACK; returns its browser's secret."""
        if self._fresh is not None and _same(token, self._fresh):
            self._claimed, self._fresh = self._fresh, None
            self._secret = secrets.token_urlsafe(16)
        assert self._secret is not None, "asked for a verdict first"
        return self._secret


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def allowed_origins(host: str, port: int, further: Sequence[str]) -> frozenset[str]:
    """Origins whose pages may open the socket: this server under its names, and those the operator names."""
    names = {f"[{host}]" if ":" in host else host}
    if host in ("127.0.0.1", "::1", "localhost"):
        names |= {"127.0.0.1", "[::1]", "localhost"}
    own = {f"http://{name}:{port}" for name in names}
    if port == 80:  # browsers leave out a scheme's default port
        own |= {f"http://{name}" for name in names}
    return frozenset(own | {origin.rstrip("/") for origin in further})


class Bucket:
    """Allows `rate` units a second on average, up to `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._level = burst
        self._at = time.monotonic()

    def take(self, units: float) -> bool:
        """Whether that many may pass now."""
        now = time.monotonic()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if units > self._level:
            return False
        self._level -= units
        return True
