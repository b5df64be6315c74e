"""Events by HTTP POST, as batches of JSON lines."""

import http.client
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from mtc import __version__
from mtc.errors import UsageError
from mtc.serving.sinks.base import SinkDown, SinkRefused

TIMEOUT_S = 10.0
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
        if self._connection is None:
            if self._tls is not None:
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=TIMEOUT_S, context=self._tls
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        self._connection.request("POST", self._target, body, dict(self._headers))
        answer = self._connection.getresponse()
        answer.read()
        if answer.will_close:
            self.close()
        return answer.status, answer.reason


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).lower()
