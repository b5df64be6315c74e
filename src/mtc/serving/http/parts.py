"""What the API and the page share."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mtc.serving.http.auth import Authenticator
from mtc.serving.http.jobs import Jobs
from mtc.serving.http.live import LiveFeed
from mtc.serving.http.models import ModelRegistry
from mtc.serving.http.settings import ServeSettings

PREFIX = "mtc_serve_"
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters of one server; each has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.uploads = self._counter("uploads", "Uploads received as a whole.")
        self.upload_bytes = self._counter("upload_bytes", "Bytes of these uploads.")
        self.refused = self._counter("refused", "Requests refused.", "reason")
        self.jobs = self._counter("jobs", "Jobs that ended.", "state")
        self.rows = self._counter("verdicts", "Verdicts given.")
        self.packets = self._counter("packets", "Packets read by jobs that classify flows.")
        self.live_events = self._counter("live_events", "Events of watches.", "outcome")
        self.job_seconds = Histogram(
            f"{PREFIX}job_seconds", "Wall time of jobs.", buckets=SECONDS, registry=self.registry
        )

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}{name}", what, labels, registry=self.registry)

    def show(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a number that is asked for at each scrape."""
        Gauge(f"{PREFIX}{name}", what, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of a server."""

    settings: ServeSettings
    jobs: Jobs
    models: ModelRegistry
    feed: LiveFeed
    metrics: Metrics
    authenticator: Authenticator
