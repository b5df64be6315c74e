"""What a server may do, and how much of it."""

import math
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from mtc.errors import UsageError

SHORTEST_TOKEN = 16
"""Characters of a token that someone thought up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What uploads, jobs and events may take.

    Attributes:
        upload_bytes: Bytes of one upload, all its captures together.
        upload_files: Captures in one upload.
        upload_idle_s: Seconds without a byte after which an upload is given up.
        receiving: Uploads that are received at the same time.
        connections: Connections at the same time.
        header_s: Seconds in which the headers of a request, or a TLS handshake, must be complete.
        least_rate: Bytes per second that a request's body must bring on average after ``header_s``.
        unpacked_bytes: Bytes that may come out of the compressed captures of one job.
        members: Captures in the archives of one job.
        kept_bytes: Bytes of all uploads and results together.
        keep_s: Seconds after its end for which a job and its captures are kept.
        running: Jobs that run at the same time.
        waiting: Jobs that wait.
        job_s: Wall time of one job, in seconds.
        question_s: Wall time of one question about a capture (packets of a flow, an explanation).
        memory_bytes: Memory of the process of one job, beyond what it begins with.
        result_bytes: Bytes of each file of results.
        live_events: Events of running watches that are kept.
        live_bytes: Bytes of one delivery of events.
    """

    upload_bytes: int = 1 << 30
    upload_files: int = 16
    upload_idle_s: float = 60
    receiving: int = 128
    connections: int = 512
    header_s: float = 10
    least_rate: int = 1024
    unpacked_bytes: int = 8 << 30
    members: int = 1000
    kept_bytes: int = 8 << 30
    keep_s: float = 3600
    running: int = 2
    waiting: int = 100
    job_s: float = 600
    question_s: float = 60
    memory_bytes: int = 4 << 30
    result_bytes: int = 2 << 30
    live_events: int = 5000
    live_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"the limit {name} must be above 0, and finite")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How to serve.

    Attributes:
        host: Address that is bound.
        port: TCP port; 0 takes a free one.
        token: What clients must show; needed for any address but loopback.
        hosts: Further names under which browsers may know the server.
        models: Name -> folder of models besides the bundled ones.
        default_model: What is used where a job names no model.
        pseudonymise: Whether every job's addresses are pseudonyms, asked for or not.
        pseudonym_key: Key of the pseudonyms, 32 bytes; by default a new one for each server.
        page: Whether there is a web page.
        tls: Certificate and key, where the server speaks TLS itself.
        limits: See ``Limits``.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    models: tuple[tuple[str, Path], ...] = ()
    default_model: str = "iscx"
    pseudonymise: bool = False
    pseudonym_key: bytes | None = field(default=None, repr=False)
    page: bool = True
    tls: tuple[Path, Path] | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check what cannot be left to the first request.

        Raises:
            UsageError: There is no token for an address that others reach, or it is too short.
        """
        if self.token is None and not self.loopback:
            raise UsageError(f"{self.host} can be reached by others: serving there needs a token")
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise UsageError(f"a token needs at least {SHORTEST_TOKEN} characters")

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address, or ``localhost``, means only this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
