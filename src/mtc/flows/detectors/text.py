"""Protocols of lines of text."""

import re

from mtc.flows.detectors.detector import Detector, Side

_REQUEST = re.compile(rb"[A-Z][A-Z_-]{1,19} [^\r\n]{1,8000} HTTP/1\.[01]\r?\n")


def _is_request(first: bytes, side: Side) -> bool:
    return _REQUEST.match(first) is not None


TEXT = (
    Detector("http", "tcp", (b"HTTP/1.0 ", b"HTTP/1.1 ")),
    Detector("http", "tcp", test=_is_request),
    Detector("ssh", "tcp", (b"SSH-",)),
)
