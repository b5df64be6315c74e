"""The first to see a request: right host, right origin, right token; also what every answer carries.

A page of a stranger that runs in the browser of someone on this machine can send requests to loopback.
It cannot choose the ``Host`` that the browser sends for a name it owns (DNS rebinding), nor hide its
``Origin`` in a request that changes something or opens a socket.
"""

import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mtc.serving.http.auth import Authenticator
from mtc.serving.http.settings import ServeSettings

OPEN_PATHS = frozenset({"/health", "/login"})
"""What needs no token."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

FOREIGN_UPLOADS = re.compile(r"^/_nicegui/client/[^/]*/upload/")
"""An upload route of the page's library, which knows no limits; our own is used in its place."""

ANSWER_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
}
"""Scripts come from this server only; the page's library needs its inline ones."""


class Guard:
    """ASGI middleware around everything."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        authenticator: Authenticator,
        refused: Callable[[str], None],
    ) -> None:
        """Guard ``app``; ``refused`` is reported the reason of each error, for counting."""
        self.app = app
        self._authenticator = authenticator
        self._refused = refused
        # Behind a token, a name that was rebound brings no session: any host is fine then.
        self._any_host = authenticator.asks and not settings.hosts
        self._hosts = {
            "localhost",
            "127.0.0.1",
            "::1",
            settings.host.lower(),
            *map(str.lower, settings.hosts),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        status, reason = self._check(scope, headers)
        if reason is None:
            await self.app(scope, receive, send if scope["type"] == "websocket" else _with_headers(send))
            return
        self._refused(reason)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
            return
        if status == 401 and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            where = f"/login?next={quote(scope['path'])}"
            await _answer(send, 303, b"", {"location": where})
            return
        extra = {"www-authenticate": "Bearer"} if status == 401 else {}
        body = json.dumps({"detail": reason}).encode()
        await _answer(send, status, body, {"content-type": "application/json", **extra})

    def _check(self, scope: Scope, headers: Headers) -> tuple[int, str | None]:
        if sum(name == b"host" for name, _ in scope["headers"]) > 1:
            return 400, "more than one Host header"
        host = headers.get("host", "")
        if not self._known_host(host):
            return 403, "unknown host"
        unsafe = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if unsafe and not _same_origin(headers, host):
            return 403, "foreign origin"
        if FOREIGN_UPLOADS.match(scope["path"]):
            return 404, "no such upload"
        if scope["path"] not in OPEN_PATHS and not self._authenticator.allows(scope["headers"]):
            return 401, "wrong or missing token"
        return 200, None

    def _known_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None:
            return False
        if self._any_host or name in self._hosts:
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    origin = headers.get("origin")
    if origin is not None:
        scheme, found, where = origin.partition("://")
        return bool(found) and scheme in ("http", "https") and where.lower() == host.lower()
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in ANSWER_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    every = {**ANSWER_HEADERS, "content-length": str(len(body)), **headers}
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in every.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
