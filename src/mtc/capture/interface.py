"""Packets from a network interface, through libpcap (pcapy-ng, the extra ``live``)."""

import fcntl
import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtc.capture.batch import PacketBatch
from mtc.errors import CaptureError, UsageError
from mtc.extras import need

SNAPLEN = 262_144
"""Bytes captured of a packet: no packet is longer, so that caplen and wirelen are the same."""

MOST_PACKETS = 4096
TIMEOUT_MS = 50
"""How long the kernel holds packets back to hand them over together."""

PERMISSION = (
    "no permission to capture. Give it once to the interpreter: "
    "sudo setcap cap_net_raw,cap_net_admin+eip {python}; or run mtc with sudo, which it gives up once the "
    "interface is open"
)
LOOK_EVERY_S = 1.0
"""Seconds after which an interface is looked up again: a deleted one may end without an error."""
_GET_FLAGS, _IFF_UP = 0x8913, 0x1  # SIOCGIFFLAGS of linux/sockios.h; linux/if.h
_META = np.dtype([("seconds", "u4"), ("micros", "u4"), ("offset", "u4"), ("caplen", "u4")])
_WRAP = 1 << 32
_LINK_TYPES = {12: 101, 14: 101}
"""Numbers of raw IP, the one kind of link that libpcap numbers otherwise live than in files."""


class InterfaceDown(CaptureError):  # noqa: N818 - a state of the interface
    """An interface is there, and takes or gives no packets for now."""


@dataclass(frozen=True, slots=True)
class KernelCounts:
    """What the kernel says of a capture so far.

    Attributes:
        received: Packets that passed the filter, dropped ones included.
        dropped: Packets that found the ring buffer full.
        interface_dropped: Packets that the interface counts as dropped; among them are some that were
            captured, and only not wanted by this machine's own network stack.
    """

    received: int = 0
    dropped: int = 0
    interface_dropped: int = 0


class InterfaceReader:
    """An open interface; ``read`` hands out what has come in, and needs no privilege any more.

    Attributes:
        name: Name of the interface.
        link_type: LINKTYPE number.
        snaplen: Bytes captured of a packet at most. libpcap's batches carry no wire lengths: where a
            packet fills the snaplen, ``wirelens`` is a lower bound.
    """

    def __init__(
        self,
        name: str,
        *,
        bpf: str = "",
        snaplen: int = SNAPLEN,
        ring_bytes: int = 64 << 20,
        promiscuous: bool = True,
    ) -> None:
        """Open an interface, and begin to capture.

        Args:
            name: Such as ``eth0``; ``any`` is all of them.
            bpf: Filter as in tcpdump; empty: all packets.
            snaplen: Bytes captured of a packet.
            ring_bytes: Size of the kernel's ring buffer.
            promiscuous: Whether to see packets for other machines too.

        Raises:
            CaptureError: There is no such interface, or no permission.
            UsageError: The filter is wrong, or the library is not installed.
        """
        pcapy = need("pcapy")
        self.name, self.snaplen = name, snaplen
        self._index = 0 if name == "any" else socket.if_nametoindex(name) if name in interfaces() else 0
        self._looked_s = time.monotonic()
        self._error = pcapy.PcapError
        self._handle: Any = _activate(pcapy, name, snaplen, ring_bytes, promiscuous)
        if bpf:
            try:
                self._handle.setfilter(bpf)
            except (pcapy.PcapError, pcapy.BPFError) as error:
                raise UsageError(f"filter {bpf!r}: {error}") from None
        link_type = int(self._handle.datalink())
        self.link_type = _LINK_TYPES.get(link_type, link_type)
        # libpcap itself would wait for ever on a silent interface.
        self._handle.setnonblock(1)
        self._poll = select.poll()
        self._poll.register(self._handle.getfd(), select.POLLIN)
        self._next_packet = 1
        self._last = (0, 0, 0)
        self._counts = [0, 0, 0]

    def read(self) -> PacketBatch | None:
        """What has come in, waiting a twentieth of a second for it; None where that is nothing.

        Raises:
            InterfaceDown: The interface is down, and may come up again.
            CaptureError: The interface is gone.
        """
        self._poll.poll(TIMEOUT_MS)
        try:
            data, meta = self._handle.next_batch(MOST_PACKETS)
        except self._error as error:
            self._check_there()
            raise InterfaceDown(f"{self.name}: {str(error).lower()}") from None
        if time.monotonic() - self._looked_s >= LOOK_EVERY_S:
            # A request for counts may have taken the error that reading would have raised.
            self._check_there()
        if not meta:
            return None
        columns = np.frombuffer(meta, _META)
        caplens = columns["caplen"].astype(np.int64)
        first, self._next_packet = self._next_packet, self._next_packet + len(columns)
        return PacketBatch(
            data=np.frombuffer(data, np.uint8),
            offsets=columns["offset"].astype(np.int64),
            caplens=caplens,
            wirelens=caplens,
            timestamps=columns["seconds"].astype(np.int64) * 1_000_000_000
            + columns["micros"].astype(np.int64) * 1000,
            link_types=np.full(len(columns), self.link_type, np.int32),
            first_packet=first,
        )

    def is_up(self) -> bool:
        """Whether the interface is there and up.

        Raises:
            CaptureError: The interface is gone.
        """
        self._check_there()
        if not self._index:
            return True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, _GET_FLAGS, struct.pack("16sh14x", self.name.encode(), 0))
        return bool(struct.unpack("16sh14x", answer)[1] & _IFF_UP)

    def _check_there(self) -> None:
        self._looked_s = time.monotonic()
        if not self._index:
            return
        try:
            there = socket.if_nametoindex(self.name) == self._index
        except OSError:
            there = False
        if not there:
            raise CaptureError(f"{self.name}: the interface disappeared")

    def counts(self) -> KernelCounts:
        """What the kernel says so far; its counters are of 32 bits, these are not."""
        try:
            now = self._handle.stats()
        except self._error:  # the interface is gone; reading it shows that
            return KernelCounts(*self._counts)
        for at, (new, old) in enumerate(zip(now, self._last, strict=True)):
            self._counts[at] += (new - old) % _WRAP
        self._last = tuple(now)
        return KernelCounts(*self._counts)

    def close(self) -> None:
        """Stop capturing."""
        self._handle.close()


def interfaces() -> list[str]:
    """Names of this machine's interfaces."""
    return [name for _, name in socket.if_nameindex()]


def _activate(pcapy: Any, name: str, snaplen: int, ring_bytes: int, promiscuous: bool) -> Any:
    if name != "any" and name not in interfaces():
        raise CaptureError(f"{name}: no such interface or file; interfaces here: {', '.join(interfaces())}")
    try:
        handle = pcapy.create(name)
        handle.set_snaplen(snaplen)
        handle.set_promisc(promiscuous)
        handle.set_timeout(TIMEOUT_MS)
        handle.set_buffer_size(ring_bytes)
        status = handle.activate()
    except pcapy.PcapError as error:
        raise CaptureError(f"{name}: {error}") from None
    if status < 0:
        raise CaptureError(f"{name}: {_status_text(status)}")
    return handle


def _status_text(status: int) -> str:
    if status == -8:  # PCAP_ERROR_PERM_DENIED, see pcap/pcap.h
        return PERMISSION.format(python=os.path.realpath(sys.executable))
    texts = {
        -5: "no such device exists",
        -9: "the interface is not up",
        -11: "promiscuous mode: no permission",
    }
    return texts.get(status, f"cannot be captured from (libpcap's error {status})")
