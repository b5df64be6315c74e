"""HTTP connections with deadlines and a cap: what a client can hold before, and while, it sends a request.

h11 is chosen by name: it bounds the size of headers, which httptools, where it is installed, does not.
"""

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mtc.serving.http.settings import Limits

HEADER_BYTES = 16 << 10
CHECK_EVERY_S = 1.0
_BUSY = b'{"detail": "too many connections; try again later"}'
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_BUSY), _BUSY)
)


class LimitedProtocol(H11Protocol):
    """One connection. A request's headers must be complete in time, and its body must keep a pace."""

    limits = Limits()
    """Of the server in this process."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse the connection where there are too many; else wait for headers."""
        super().connection_made(transport)
        self._began = self.loop.time()
        self._received = 0
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.limits.connections:
            transport.write(BUSY)
            transport.close()
            return
        self._check_later()

    def data_received(self, data: bytes) -> None:
        """Count what comes in, and hand it on."""
        if self._timer is None and not self._answering():  # the first bytes of a further request
            self._began, self._received = self.loop.time(), 0
            self._check_later()
        had_headers = self.conn.their_state is not h11.IDLE
        super().data_received(data)
        if not had_headers and self.conn.their_state is not h11.IDLE:
            self._began, self._received = self.loop.time(), 0
        self._received += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """From here on the connection is a websocket's."""
        self._forget_timer()
        super().handle_websocket_upgrade(event)

    def _check_later(self) -> None:
        self._timer = self.loop.call_later(CHECK_EVERY_S, self._check)

    def _check(self) -> None:
        """Close the connection where headers are late or a body is too slow."""
        self._timer = None
        waited = self.loop.time() - self._began
        if self.conn.their_state is h11.SEND_BODY:
            # The upload itself answers a slow body earlier, and in words.
            patience = 2 * self.limits.header_s
            if self.flow.read_paused:  # it is us who do not read
                self._began, self._received = self.loop.time(), 0
            elif waited > patience and self._received < self.limits.least_rate * waited:
                self.transport.close()
                return
        elif self._answering():
            return
        elif waited > self.limits.header_s:
            self.transport.close()
            return
        self._check_later()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class LimitedServer(uvicorn.Server):
    """A server whose TLS handshakes have a deadline too."""

    async def startup(self, sockets: Any = None) -> None:
        """Listen."""
        if self.config.ssl is not None:
            loop = asyncio.get_running_loop()
            create_server = loop.create_server

            def in_time(*arguments: Any, **options: Any) -> Any:
                return create_server(
                    *arguments, **options, ssl_handshake_timeout=LimitedProtocol.limits.header_s
                )

            loop.create_server = in_time  # type: ignore[method-assign]
        await super().startup(sockets)
