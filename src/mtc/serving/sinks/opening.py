"""From the URL of ``--sink`` to a sink."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mtc.errors import UsageError
from mtc.serving.sinks.base import Sink

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
