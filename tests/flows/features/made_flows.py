"""Captures made for tests of flow features: one packet a line."""

from collections.abc import Iterable
from pathlib import Path

import dpkt
import numpy as np

from mtc.flows.features import CONVENTIONS, FeatureRows, FeatureTable
from mtc.flows.features.conventions import STATISTICS

START = 1_500_000_000.0
CLIENT, SERVER = b"\x0a\0\0\x01", b"\x0a\0\0\x02"
Packet = tuple[float, bytes]


def tcp(time: float, flags: str = "A", payload: int = 0, *, back: bool = False, port: int = 40_000) -> Packet:
    """A TCP packet over raw IP, ``time`` seconds after ``START``; flags as letters."""
    bits = sum(1 << "FSRPAUEC".index(letter) for letter in flags)
    ends = (80, port) if back else (port, 80)
    segment = dpkt.tcp.TCP(sport=ends[0], dport=ends[1], flags=bits, win=2000 if back else 1000)
    segment.data = bytes(payload)
    return time, ip(6, bytes(segment), back=back)


def udp(time: float, payload: int = 0, *, back: bool = False, port: int = 40_000) -> Packet:
    ends = (53, port) if back else (port, 53)
    datagram = dpkt.udp.UDP(sport=ends[0], dport=ends[1], data=bytes(payload))
    datagram.ulen = len(datagram)
    return time, ip(17, bytes(datagram), back=back)


def ip(protocol: int, data: bytes, *, back: bool = False) -> bytes:
    src, dst = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    packet = dpkt.ip.IP(src=src, dst=dst, p=protocol, data=data)
    packet.len = len(packet)
    return bytes(packet)


def write(path: Path, packets: Iterable[Packet], *, linktype: int = 101, snaplen: int = 65_535) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=linktype)
        for time, data in packets:
            header = dpkt.pcap.LEPktHdr(
                tv_sec=int(START + time),
                tv_usec=round((START + time) % 1 * 1e6),
                caplen=min(len(data), snaplen),
                len=len(data),
            )
            file.write(bytes(header) + data[:snaplen])
        del writer
    return path


class Flows:
    """The features of a capture by name, flows in the order of their first packets."""

    def __init__(self, path: Path, convention: str, *, strict: bool = False) -> None:
        from mtc.capture import open_capture

        self.table = FeatureTable(CONVENTIONS[convention], strict=strict)
        with open_capture(path) as reader:
            parts = [self.table.update(batch) for batch in reader]
        parts += list(self.table.finish())
        rows = FeatureRows.joined(parts)
        self.rows = rows.take(np.argsort(rows.number, kind="stable"))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> list[float]:
        values: list[float] = self.rows.values[:, STATISTICS.index(name)].tolist()
        return values
