"""What the API and the page share."""

from dataclasses import dataclass

from mtc.serving.http.auth import Authenticator
from mtc.serving.http.jobs import Jobs
from mtc.serving.http.live import LiveFeed
from mtc.serving.http.metrics import Metrics
from mtc.serving.http.models import ModelRegistry
from mtc.serving.http.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of a server."""

    settings: ServeSettings
    jobs: Jobs
    models: ModelRegistry
    feed: LiveFeed
    metrics: Metrics
    authenticator: Authenticator
