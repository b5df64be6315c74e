"""The pcap format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html and its elders."""

import numpy as np
from numpy.typing import NDArray

from mtc.capture import kernels
from mtc.capture.formats import PCAP_MAGICS
from mtc.capture.records import Records, Stop, length_reason, max_caplen
from mtc.errors import CaptureError, UnsupportedFormat


class Pcap:
    """Reads the records of one pcap file of either byte order, any time unit and any age."""

    name = "pcap"

    def __init__(self, head: bytes) -> None:
        """Read the file header.

        Args:
            head: The first bytes of the file.

        Raises:
            CaptureError: The header is cut off or makes no sense.
            UnsupportedFormat: The version is none that was ever in use.
        """
        order, self._fraction_ns, self.header_bytes, self._record_header = PCAP_MAGICS[head[:4]]
        if len(head) < self.header_bytes:
            raise CaptureError("cut off in the pcap file header")
        self._big_endian = order == "big"

        def number(start: int, size: int) -> int:
            return int.from_bytes(head[start : start + size], "big" if self._big_endian else "little")

        major, minor = number(4, 2), number(6, 2)
        if (major != 2 or minor > 4) and (major, minor) != (543, 0):  # 543.0 is DG/UX's tcpdump
            raise UnsupportedFormat(f"pcap of version {major}.{minor}, which is not read here")
        # Writers before 2.3 swapped the two lengths, and those of 2.3 did not agree.
        if major == 543 or minor < 3:
            self._swap = kernels.SWAP
        else:
            self._swap = kernels.SWAP_IF_LARGER if minor == 3 else kernels.NO_SWAP
        # The upper six bits tell of a frame check sequence, the next ten are reserved.
        network = number(20, 4) & 0x03FF_FFFF
        if network > 0xFFFF:
            raise CaptureError(f"pcap whose link type has reserved bits set (0x{number(20, 4):08x})")
        self._link_type = network
        self._max_caplen = max_caplen(network)

    def link_types(self) -> tuple[int, ...]:
        """The one LINKTYPE of the file."""
        return (self._link_type,)

    def index(self, data: NDArray[np.uint8], position: int, stop: int, records: Records) -> Stop:
        """See `mtc.capture.records.Format`."""
        first = records.count
        records.count, records.packet_bytes, position, state = kernels.index_pcap(
            data,
            position,
            stop,
            self._big_endian,
            self._fraction_ns,
            self._record_header,
            self._swap,
            self._max_caplen,
            records.max_bytes,
            records.count,
            records.packet_bytes,
            records.offsets,
            records.caplens,
            records.wirelens,
            records.timestamps,
        )
        records.link_types[first : records.count] = self._link_type
        reason = ""
        if state == kernels.TOO_LONG:
            claims = data[position + 8 : position + 16].view(">u4" if self._big_endian else "<u4")
            reason = length_reason(int(claims[1] if self._swap == kernels.SWAP else claims[0]))
        return Stop(position, state, reason)
