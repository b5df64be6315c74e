"""Small captures of known content."""

from collections.abc import Callable, Iterable
from pathlib import Path

import dpkt
import pytest

Packet = tuple[int, int, bytes]
"""Source port, destination port, payload: a UDP packet between two fixed hosts."""


@pytest.fixture(scope="session")
def write_capture() -> Callable[[Path, Iterable[Packet]], Path]:
    """Write UDP packets as a raw-IP pcap."""

    def write(path: Path, packets: Iterable[Packet]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            writer = dpkt.pcap.Writer(file, linktype=101)
            for i, (sport, dport, payload) in enumerate(packets):
                udp = dpkt.udp.UDP(sport=sport, dport=dport, data=payload, ulen=8 + len(payload))
                ip = dpkt.ip.IP(src=bytes([10, 0, 0, 1]), dst=bytes([10, 0, 0, 2]), p=17, data=udp)
                ip.len = len(bytes(ip))
                writer.writepkt(bytes(ip), ts=1_500_000_000 + i)
        return path

    return write
