"""Packets made by hand, batches of them, and the oracle."""

import importlib.util
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import dpkt
import numpy as np
import pytest

from mtc.capture import PacketBatch

BatchMaker = Callable[..., PacketBatch]


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("packet_oracle", Path(__file__).with_name("oracle.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_batch() -> BatchMaker:
    """Frames as a batch, with bytes of nobody between them."""

    def make(
        frames: Sequence[bytes],
        link_type: int | Sequence[int] = 1,
        *,
        wirelens: Sequence[int] | None = None,
        times: Sequence[int] | None = None,
        poison: int = 0xAA,
        first_packet: int = 1,
    ) -> PacketBatch:
        gap = bytes([poison]) * 70
        data = np.frombuffer(gap + gap.join(frames) + gap, np.uint8)
        caplens = np.array([len(frame) for frame in frames], np.int64)
        starts = np.concatenate([[0], np.cumsum(caplens + 70)[:-1]]) if len(frames) else np.empty(0)
        types = [link_type] * len(frames) if isinstance(link_type, int) else link_type
        return PacketBatch(
            data=data,
            offsets=(starts + 70).astype(np.int64),
            caplens=caplens,
            wirelens=caplens.copy() if wirelens is None else np.array(wirelens, np.int64),
            timestamps=np.array(range(len(frames)) if times is None else times, np.int64),
            link_types=np.array(types, np.int32),
            first_packet=first_packet,
        )

    return make


def _tcp(
    payload: bytes = b"", sport: int = 40000, dport: int = 443, *, flags: int = 0x18, opts: bytes = b""
) -> bytes:
    segment = dpkt.tcp.TCP(
        sport=sport, dport=dport, seq=7, ack=9, flags=flags, win=512, opts=opts, data=payload
    )
    segment.off = 5 + len(opts) // 4
    return bytes(segment)


def _udp(payload: bytes = b"", sport: int = 40000, dport: int = 50000) -> bytes:
    return bytes(dpkt.udp.UDP(sport=sport, dport=dport, ulen=8 + len(payload), data=payload))


def _ip4(
    body: bytes,
    protocol: int,
    *,
    src: str = "10.0.0.1",
    dst: str = "10.0.0.2",
    opts: bytes = b"",
    offset: int = 0,
) -> bytes:
    packet = dpkt.ip.IP(
        src=bytes(map(int, src.split("."))),
        dst=bytes(map(int, dst.split("."))),
        p=protocol,
        ttl=61,
        id=4711,
        len=20 + len(opts) + len(body),
        hl=5 + len(opts) // 4,
        opts=opts,
    )
    packet.data = body
    packet._flags_offset = offset
    packet.sum = 1  # not computed: nobody checks it
    return bytes(packet)


def _ip6(body: bytes, next_header: int, *, extension: bytes = b"", src: int = 1, dst: int = 2) -> bytes:
    head = struct.pack(">IHBB", 0x60012345, len(extension) + len(body), next_header, 62)
    return (
        head
        + (0x20010DB8 << 96 | src).to_bytes(16)
        + (0x20010DB8 << 96 | dst).to_bytes(16)
        + extension
        + body
    )


def _ether(packet: bytes, kind: int | None = None, tags: bytes = b"") -> bytes:
    if kind is None:
        kind = 0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800
    return bytes(range(12)) + tags + struct.pack(">H", kind) + packet


class Build:
    """Builders of packets, bottom up."""

    tcp = staticmethod(_tcp)
    udp = staticmethod(_udp)
    ip4 = staticmethod(_ip4)
    ip6 = staticmethod(_ip6)
    ether = staticmethod(_ether)


@pytest.fixture(scope="session")
def build() -> type[Build]:
    return Build
