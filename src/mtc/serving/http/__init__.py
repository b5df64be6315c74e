"""``mtc serve``: captures in over HTTP, verdicts out; no network library in the server's own process."""

from mtc.serving.http.settings import Limits, ServeSettings

__all__ = ["Limits", "ServeSettings"]
