"""Events as syslog messages (RFC 5424) over UDP, TCP (RFC 6587, octet counting) or a local socket."""

import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import urlsplit

from mtc.errors import UsageError
from mtc.serving.events import iso_time
from mtc.serving.sinks.base import SinkDown

PORT = 514
PRIORITY = 16 * 8 + 6
"""Facility local0, severity informational."""

TIMEOUT_S = 5.0
CONFIRMED_AFTER_S = 1.0
"""A connection that lives so much longer is taken to have delivered: syslog itself acknowledges nothing."""


class SyslogSink:
    """Sends to ``syslog://HOST[:PORT]`` (UDP), ``syslog+tcp://HOST[:PORT]`` or ``syslog:/dev/log``.

    Over TCP, what was sent within the last second is sent again after a broken connection: some of it
    can arrive twice, rather than not at all. UDP reports a missing receiver on the same machine only.
    """

    def __init__(self, url: str) -> None:
        """Prepare; connects with the first event.

        Raises:
            UsageError: The URL names neither a host nor a socket.
        """
        parts = urlsplit(url)
        self._tcp = parts.scheme == "syslog+tcp"
        self._path = parts.path if not parts.netloc else ""
        try:
            self._host, self._port = parts.hostname or "", parts.port or PORT
        except ValueError as error:
            raise UsageError(f"--sink {url}: {error}") from None
        if not self._host and (not self._path or self._tcp):
            raise UsageError(f"--sink {url}: no host")
        self._head = f"<{PRIORITY}>1 {{}} {socket.gethostname()} mtc {os.getpid()} event - "
        self._socket: socket.socket | None = None
        self._unconfirmed: deque[tuple[float, list[str]]] = deque()

    def send(self, lines: Sequence[str]) -> None:
        """See ``Sink``."""
        try:
            if self._socket is not None and self._broken(self._socket):
                self.close()
            if self._socket is None:
                self._socket = self._connect()
                for _, sent in self._unconfirmed:
                    self._write(self._socket, sent)
            self._write(self._socket, lines)
            self._settle(self._socket)
        except OSError as error:
            self.close()
            raise SinkDown((error.strerror or str(error)).lower()) from error
        now = time.monotonic()
        if self._tcp:
            self._unconfirmed.append((now, list(lines)))
            while now - self._unconfirmed[0][0] > CONFIRMED_AFTER_S:
                self._unconfirmed.popleft()

    def close(self) -> None:
        """See ``Sink``."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        if self._path:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.settimeout(TIMEOUT_S)
            made.connect(self._path)
        elif self._tcp:
            made = socket.create_connection((self._host, self._port), TIMEOUT_S)
        else:
            family, kind, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[
                0
            ]
            made = socket.socket(family, kind)
            made.settimeout(TIMEOUT_S)
            made.connect(address)
        return made

    def _write(self, connected: socket.socket, lines: Sequence[str]) -> None:
        head = self._head.format(iso_time(time.time_ns() // 1000 * 1000))
        messages = [(head + line).encode() for line in lines]
        if self._tcp:
            connected.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))
            return
        for message in messages:
            connected.send(message)

    def _settle(self, connected: socket.socket) -> None:
        """Wait until the other side's system has all that was sent, or an error has come back."""
        until = time.monotonic() + TIMEOUT_S
        while self._tcp and _unsent(connected) and time.monotonic() < until:
            time.sleep(0.005)
        if self._tcp and _unsent(connected):
            raise TimeoutError(errno.ETIMEDOUT, "takes nothing any more")
        error = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def _broken(self, connected: socket.socket) -> bool:
        if not self._tcp:
            return connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        with contextlib.suppress(BlockingIOError):  # nothing to read, not even an end: it is connected
            return not connected.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return False


def _unsent(connected: socket.socket) -> int:
    """Bytes that the other side has not acknowledged yet."""
    answer = fcntl.ioctl(connected, termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
