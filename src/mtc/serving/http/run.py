"""The server as a program: it binds, says where it is, and stops cleanly."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import uvicorn

from mtc.errors import UsageError
from mtc.serving.http.app import make_app
from mtc.serving.http.connections import HEADER_BYTES, LimitedProtocol, LimitedServer
from mtc.serving.http.settings import ServeSettings
from mtc.serving.http.work.sandbox import hide_from_others, missing_walls

STOP_S = 5
"""Seconds that open connections get at the end."""

WEBSOCKET_BYTES = 1 << 20
"""Bytes of one message of the web page."""


def run(settings: ServeSettings, say: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        settings: See ``ServeSettings``.
        say: Called with lines for the operator of the server.

    Raises:
        UsageError: The address cannot be bound, or there is no certificate with its key.
    """
    if settings.tls is not None:
        _check_tls(*settings.tls)
    with _bound(settings.host, settings.port) as listening:
        port = listening.getsockname()[1]
        app = make_app(settings)
        cert, key = settings.tls or (None, None)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=STOP_S,
            http=LimitedProtocol,
            h11_max_incomplete_event_size=HEADER_BYTES,
            loop="asyncio",
            ws_max_size=WEBSOCKET_BYTES,
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        scheme = "http" if settings.tls is None else "https"
        if missing := missing_walls():
            say(f"the kernel lacks {', '.join(missing)}: jobs run without")
        hide_from_others()
        say(f"serving on {scheme}://{host}:{port} (Ctrl-C stops)")
        LimitedProtocol.limits = settings.limits
        LimitedServer(config).run(sockets=[listening])


def _check_tls(cert: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except OSError as error:
        raise UsageError(
            f"{cert}, {key}: not a certificate and its key ({error.strerror or error})"
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UsageError(f"{host} port {port} cannot be bound: {error.strerror or error}") from None
    return listening
