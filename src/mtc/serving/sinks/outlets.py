"""All sinks of a watch together."""

import hashlib
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from mtc.errors import UsageError
from mtc.serving.events import Event, encode
from mtc.serving.sinks.base import Sink, public_name
from mtc.serving.sinks.delivery import Delivery
from mtc.serving.sinks.spool import Spool

KINDS = "stdout, file:PATH, parquet:DIR, kafka://BROKER/TOPIC, http(s)://..., syslog://HOST:PORT"


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What sinks need beside their URL."""

    token: str | None = None
    """Bearer token of HTTP sinks."""
    rotate_bytes: int = 100 << 20
    """Size at which a file is put aside."""
    rotate_every_s: float = 86_400.0
    """Age at which it is."""
    keep_files: int = 30
    """Files put aside that stay."""

    def __post_init__(self) -> None:
        if self.rotate_bytes <= 0 or self.rotate_every_s <= 0 or self.keep_files < 0:
            raise UsageError("sizes and times of files must be positive")
        if self.token is not None and not re.fullmatch(r"[\x21-\x7e]+", self.token):
            raise UsageError("a token has no blanks, and only ASCII")


def open_sink(url: str, options: SinkOptions | None = None) -> Sink:
    """A sink by its URL, which is any of ``KINDS`` but stdout.

    Raises:
        UsageError: There is no such sink, its URL is incomplete, or its library is not installed.
    """
    options = options or SinkOptions()
    try:
        urlsplit(url)
    except ValueError as error:
        raise UsageError(f"--sink {url}: {error}") from None
    scheme, _, rest = url.partition(":")
    if scheme in ("http", "https"):
        from mtc.serving.sinks.http import HttpSink

        return HttpSink(url, options.token)
    if scheme == "kafka":
        from mtc.serving.sinks.kafka import KafkaSink

        return KafkaSink(url)
    if scheme in ("syslog", "syslog+tcp"):
        from mtc.serving.sinks.syslog import SyslogSink

        return SyslogSink(url)
    if scheme in ("file", "parquet") and not rest:
        raise UsageError(f"--sink {url}: no path")
    if scheme == "file":
        from mtc.serving.sinks.files import FileSink

        return FileSink(
            Path(rest),
            max_bytes=options.rotate_bytes,
            every_s=options.rotate_every_s,
            keep=options.keep_files,
        )
    if scheme == "parquet":
        from mtc.serving.sinks.parquet import ParquetSink

        return ParquetSink(Path(rest))
    raise UsageError(f"--sink {url}: no such sink; there are {KINDS}")


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
