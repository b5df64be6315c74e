"""All sinks of a watch together."""

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from mtc.serving.events import Event, encode
from mtc.serving.sinks.base import public_name
from mtc.serving.sinks.delivery import Delivery
from mtc.serving.sinks.opening import SinkOptions, open_sink
from mtc.serving.sinks.spool import Spool

STDOUT = "stdout"


class Outlets:
    """Hands every event to every sink.

    Standard output is written at once, and makes us wait where its reader does; every other sink has a
    queue, a thread, and a buffer on disk.
    """

    def __init__(
        self,
        urls: Sequence[str],
        options: SinkOptions | None = None,
        *,
        spool: Path | None = None,
        spool_bytes: int = 256 << 20,
        watcher: Callable[[Event], None] | None = None,
        stdout: IO[str] | None = None,
    ) -> None:
        """Open the sinks.

        Args:
            urls: See ``open_sink``; ``stdout`` for standard output.
            options: What sinks need beside their URL.
            spool: Folder for the buffers on disk; None: none.
            spool_bytes: Bytes of each buffer at most.
            watcher: Gets every event too, such as a table on a terminal.
            stdout: Instead of standard output.

        Raises:
            UsageError: There is no such sink.
            OutputError: A buffer on disk cannot be used.
        """
        self._watcher = watcher
        urls = list(dict.fromkeys(urls))
        self._stdout = (stdout or sys.stdout) if STDOUT in urls else None
        self._written = 0
        self.deliveries: list[Delivery] = []
        for url in urls:
            if url == STDOUT:
                continue
            sink, name = open_sink(url, options), public_name(url)
            buffer = None
            if spool is not None:
                folder = spool / hashlib.sha256(name.encode()).hexdigest()[:16]
                buffer = Spool(folder, spool_bytes)
            self.deliveries.append(Delivery(name, sink, buffer))

    def start(self) -> None:
        """Begin to deliver."""
        for delivery in self.deliveries:
            delivery.start()

    def put(self, event: Event) -> None:
        """Take one event."""
        if self._watcher is not None:
            self._watcher(event)
        if self._stdout is None and not self.deliveries:
            return
        line = encode(event)
        if self._stdout is not None:
            self._stdout.write(line + "\n")
            self._written += 1
        for delivery in self.deliveries:
            delivery.put(line)

    def flush(self) -> None:
        """Let standard output's reader see what has been written."""
        if self._stdout is not None:
            self._stdout.flush()

    def status(self) -> list[dict[str, Any]]:
        """What each sink says of itself."""
        statuses: list[dict[str, Any]] = [delivery.status() for delivery in self.deliveries]
        if self._stdout is not None:
            own = {"sink": STDOUT, "up": True, "delivered": self._written, "waiting": 0}
            statuses.insert(0, own | {"spooled_bytes": 0, "lost": 0})
        return statuses

    def finish(self, timeout_s: float) -> list[dict[str, Any]]:
        """Deliver what waits, for so long at most; returns the status of each sink at the end."""
        deadline = time.monotonic() + timeout_s
        for delivery in self.deliveries:
            delivery.close_by(deadline)
        self.flush()
        for delivery in self.deliveries:
            if delivery.is_alive():
                delivery.finish(max(0.0, deadline - time.monotonic()))
        return self.status()

    def abandon(self) -> None:
        """Bring to disk at once what no sink has taken yet."""
        for delivery in self.deliveries:
            delivery.abandon()
