"""Events by HTTP POST, as batches of JSON lines."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from mtc import __version__
from mtc.errors import UsageError
from mtc.serving.sinks.base import SinkDown, SinkRefused

TIMEOUT_S = 10.0
"""One request, from the connection to the end of the answer."""
MOST_ANSWER = 64 << 10
"""Bytes of an answer that are read; a longer one ends the connection."""
REFUSALS = (400, 413, 415, 422)
"""Answers that mean these events, and not the sink's state."""


class HttpSink:
    """Posts ``application/x-ndjson``; any 2xx means that the events have arrived."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Prepare; the connection is made with the first events.

        Args:
            url: Where to post to; with ``https`` the certificate is checked against the system's roots.
            token: Sent as ``Authorization: Bearer TOKEN``.

        Raises:
            UsageError: The URL names no host, or no port that there can be.
        """
        parts = urlsplit(url)
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise UsageError(f"--sink {url}: {error}") from None
        if not self._host:
            raise UsageError(f"--sink {url}: no host")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers: Mapping[str, str] = {
            "Content-Type": "application/x-ndjson",
            "User-Agent": f"mtc/{__version__}",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def send(self, lines: Sequence[str]) -> None:
        """See ``Sink``."""
        body = "".join(f"{line}\n" for line in lines).encode()
        reused = self._connection is not None
        try:
            status, reason = self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not reused:
                raise SinkDown(_text(error)) from error
            # A server may close a connection that it kept for us: that says nothing of the server.
            try:
                status, reason = self._post(body)
            except (OSError, http.client.HTTPException) as second:
                self.close()
                raise SinkDown(_text(second)) from second
        if 200 <= status < 300:
            return
        raise (SinkRefused if status in REFUSALS else SinkDown)(f"{status} {reason}")

    def close(self) -> None:
        """See ``Sink``."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes) -> tuple[int, str]:
        """One request, with one deadline for all of it: a receiver that trickles gets no more time."""
        late = threading.Event()
        timer = threading.Timer(TIMEOUT_S, self._cut, (late,))
        timer.daemon = True
        timer.start()
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.request("POST", self._target, body, dict(self._headers))
            answer = self._connection.getresponse()
            answer.read(MOST_ANSWER)
            if late.is_set():  # the end that the deadline made reads like that of the headers
                answer.close()
                raise TimeoutError
        except (OSError, http.client.HTTPException) as error:
            if late.is_set():
                raise TimeoutError(f"no answer within {TIMEOUT_S:g} s") from error
            raise
        finally:
            timer.cancel()
        if answer.will_close or not answer.isclosed():
            self.close()
        return answer.status, answer.reason

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPConnection if self._tls is None else http.client.HTTPSConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_S)
        made = socket.create_connection((connection.host, connection.port), TIMEOUT_S)
        self._socket = made  # so that the deadline also ends a handshake that trickles
        try:
            connection.sock = (
                made if self._tls is None else self._tls.wrap_socket(made, server_hostname=self._host)
            )
        except OSError:
            made.close()
            raise
        self._socket = connection.sock
        return connection

    def _cut(self, late: threading.Event) -> None:
        late.set()
        with contextlib.suppress(OSError):  # it was not connected yet, or is no longer
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).lower()
