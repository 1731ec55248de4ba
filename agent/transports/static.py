"""The built page, served from the port of its socket."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

DIST: Final = Path(__file__).resolve().parents[2] / "web" / "dist"

CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
"""What we serve; a file of any other kind is not found."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

NOT_BUILT: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>visavis: the page is not built</title></head>
<body><h1>The page is not built yet</h1>
<p>visavis is running, but its web page has not been built. In the project folder, run</p>
<pre>make setup</pre>
<p>(it needs Node 20 or newer), then reload this page.</p></body></html>
"""


class StaticSite:
    """Answers plain GET requests. poster: JPEG shown before the first frame, served as /poster.jpg."""

    def __init__(self, root: Path = DIST, *, poster: bytes | None = None) -> None:
        self._root = root.resolve()
        self._poster = poster

    def respond(self, request: Request) -> Response:
        """The file, a page that says what to do when there is no site, or 404."""
        path = unquote(urlsplit(request.path).path)
        if path == "/poster.jpg" and self._poster is not None:
            return response(HTTPStatus.OK, self._poster, "image/jpeg")
        if path in ("/", "/index.html") and not (self._root / "index.html").is_file():
            return response(HTTPStatus.SERVICE_UNAVAILABLE, NOT_BUILT.encode(), CONTENT_TYPES[".html"])
        file = self._find(path)
        if file is None:
            return response(HTTPStatus.NOT_FOUND, b"There is no such page.\n", CONTENT_TYPES[".txt"])
        return response(HTTPStatus.OK, file.read_bytes(), CONTENT_TYPES[file.suffix.lower()])

    def _find(self, path: str) -> Path | None:
        """The file below the root that the path names; None for anything else, however it is spelled."""
        if "\0" in path or "\\" in path or not path.startswith("/"):
            return None
        try:
            file = (self._root / ("index.html" if path == "/" else path.lstrip("/"))).resolve()
        except (OSError, ValueError):
            return None
        if not file.is_relative_to(self._root) or any(part.startswith(".") for part in Path(path).parts):
            return None
        return file if file.suffix.lower() in CONTENT_TYPES and file.is_file() else None


def response(status: HTTPStatus, body: bytes, content_type: str) -> Response:
    """An HTTP answer with our security headers; the connection ends with it."""
    headers = Headers(HEADERS)
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    return Response(status.value, status.phrase, headers, body)
