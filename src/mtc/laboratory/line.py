"""The line between the two sides: a pair of TUN devices joined by a program that delays and loses packets.

It stands in for netem where the kernel has none, is seeded, and writes the capture itself, at the client's
end: what the client sends is written when it is sent, what it receives when it arrives. So checksums are
right and no segment is larger than the MTU.
"""

import fcntl
import heapq
import os
import random
import select
import signal
import struct
import time
from pathlib import Path
from typing import BinaryIO

from mtc.laboratory.plans import Line

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_LINKTYPE_RAW = 101
_NANOSECOND_MAGIC = 0xA1B23C4D
_QUEUE_S = 0.5
"""Seconds of the rate that the queue before a slow line holds; a full queue drops, as a router's."""
_BURST = 64
"""Packets read of one device before the other has its turn."""


def open_tun(name: str) -> int:
    """Create a TUN device in the network namespace of the calling process; its file descriptor.

    Raises:
        OSError: The kernel has no TUN devices, or the process may not create one.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class _Direction:
    """One direction of the line: when a packet that enters now leaves."""

    def __init__(self, line: Line, seed: int) -> None:
        self._random = random.Random(seed)
        self._line = line
        self._free_at = self._last_out = 0.0

    def leaves(self, now: float, size: int) -> float | None:
        """Time at which the packet arrives at the other end, or None where it is lost."""
        line, draw = self._line, self._random
        if line.loss_percent and draw.random() * 100 < line.loss_percent:
            return None
        start = max(now, self._free_at)
        if line.rate_mbit_s:
            if start - now > _QUEUE_S:
                return None
            start += size * 8 / (line.rate_mbit_s * 1e6)
            self._free_at = start
        delay = line.delay_ms + (draw.gauss(0.0, line.jitter_ms) if line.jitter_ms else 0.0)
        out = max(start + max(delay, 0.0) / 1e3, self._last_out)
        self._last_out = out
        return out


class _Capture:
    """A pcap file of raw IP packets with nanosecond times."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.write(struct.pack("<IHHiIII", _NANOSECOND_MAGIC, 2, 4, 0, 0, 262_144, _LINKTYPE_RAW))

    def write(self, packet: bytes) -> None:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        self._file.write(struct.pack("<IIII", seconds, nanoseconds, len(packet), len(packet)) + packet)


def run_line(client: int, server: int, line: Line, seed: int, capture: Path) -> None:
    """Carry packets between two TUN devices until SIGTERM, and write what the client sees.

    Args:
        client, server: File descriptors of the TUN devices, not blocking.
        line: Delay, jitter, loss and rate.
        seed: Seed of jitter and loss.
        capture: The pcap file to write.
    """
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ways = {client: _Direction(line, seed), server: _Direction(line, seed + 1)}
    others = {client: server, server: client}
    due: list[tuple[float, int, int, bytes]] = []
    number = 0
    poll = select.poll()
    for descriptor in ways:
        poll.register(descriptor, select.POLLIN)
    with capture.open("wb", buffering=1 << 20) as file:
        written = _Capture(file)
        while running:
            now = time.monotonic()
            while due and due[0][0] <= now:
                _, _, target, packet = heapq.heappop(due)
                if target == client:
                    written.write(packet)
                _send(target, packet)
            wait_ms = max(0.0, min(0.1, due[0][0] - now) if due else 0.1) * 1e3
            for source, _ in poll.poll(wait_ms):
                for packet in _read(source):
                    if source == client:
                        written.write(packet)
                    out = ways[source].leaves(time.monotonic(), len(packet))
                    if out is not None:
                        number += 1
                        heapq.heappush(due, (out, number, others[source], packet))


def _read(descriptor: int) -> list[bytes]:
    packets = []
    for _ in range(_BURST):
        try:
            packets.append(os.read(descriptor, 65_536))
        except BlockingIOError:
            break
    return packets


def _send(descriptor: int, packet: bytes) -> None:
    try:
        os.write(descriptor, packet)
    except OSError:
        # The device is full or going down: the packet is lost, as on any line.
        return
