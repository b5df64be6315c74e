"""TLS, DTLS, QUIC, SSH and VPNs."""

from mtc.flows.detectors.detector import Detector, Side, number


def _is_tls(first: bytes, side: Side) -> bool:
    """A record of TLS: type, version 3.0 to 3.4, a length that records can have."""
    return first[1:2] == b"\3" and number(first, 2, 1) in range(5) and 0 < number(first, 3, 2) <= 16384 + 2048


ENCRYPTED = (Detector("tls", "tcp", (b"\x14", b"\x15", b"\x16", b"\x17"), _is_tls),)
