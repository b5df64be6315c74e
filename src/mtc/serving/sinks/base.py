"""What a sink is, and the two ways in which it can fail."""

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit


class SinkDown(Exception):  # noqa: N818 - a state of the sink, not a mistake
    """The sink cannot take events now. Those of the call are offered again; some may arrive twice."""


class SinkRefused(Exception):  # noqa: N818
    """The sink will never take these events."""


class Sink(Protocol):
    """Takes events, as lines of JSON, in their order; used by one thread at a time."""

    def send(self, lines: Sequence[str]) -> None:
        """Take all lines; when this returns, the sink has them.

        Raises:
            SinkDown: It cannot take them now.
            SinkRefused: It will never take them.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def public_name(url: str) -> str:
    """A sink's URL without what may be secret: user, password, query."""
    parts = urlsplit(url)
    if not parts.netloc:  # a path, which holds no secret
        return url
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
