"""Sinks of events, each behind a queue and a buffer on disk of its own."""

from mtc.serving.sinks.base import Sink, SinkDown, SinkRefused, public_name
from mtc.serving.sinks.delivery import Delivery
from mtc.serving.sinks.outlets import Outlets, SinkOptions, open_sink
from mtc.serving.sinks.spool import Spool

__all__ = [
    "Delivery",
    "Outlets",
    "Sink",
    "SinkDown",
    "SinkOptions",
    "SinkRefused",
    "Spool",
    "open_sink",
    "public_name",
]
