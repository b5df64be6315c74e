"""Formats of fixed record headers: pcap and its older variants, and snoop.

Sources: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html, and RFC 1761 for snoop.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from mtc.capture import kernels
from mtc.capture.formats import PCAP_MAGICS
from mtc.capture.records import MAX_CAPLEN, Records, Stop, length_reason, max_caplen
from mtc.errors import CaptureError, UnsupportedFormat

# AIX writes RFC 1573 interface types and nanoseconds, and shows it by nothing but its version.
_AIX_LINK_TYPES = {6: 1, 9: 6, 15: 10, 24: 0}
# Sizes of the record header that a file may have instead of the usual one: Kuznetsov's and Nokia's.
_VARIANTS = {16: (24, 20), 24: (28,)}
_PROBE_RECORDS = 3
_FIELDS = (struct.Struct("<III"), struct.Struct(">III"))


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
        if major < 2:
            raise UnsupportedFormat(f"pcap of version {major}.{minor}, which is not read here")
        # Writers before 2.3, and DG/UX's (543.0), swapped the two lengths; those of 2.3 did not agree.
        self._swap = kernels.NO_SWAP
        if major == 543 or (major == 2 and minor < 3):
            self._swap = kernels.SWAP
        elif major == 2 and minor == 3:
            self._swap = kernels.SWAP_IF_LARGER
        # The upper six bits give the length of a frame check sequence, the next ten are reserved.
        network = number(20, 4) & 0x03FF_FFFF
        if (major, minor) == (2, 2) and network in _AIX_LINK_TYPES:
            network, self._fraction_ns = _AIX_LINK_TYPES[network], 1
        if network > 0xFFFF:
            raise CaptureError(f"pcap whose link type has reserved bits set (0x{number(20, 4):08x})")
        self._link_type = network
        self._max_caplen = max_caplen(network)
        # Patched programs wrote longer record headers under the same magic numbers.
        self._variants: tuple[int, ...] = ()
        if self._fraction_ns == 1000 and self._swap == kernels.NO_SWAP and self.header_bytes == 24:
            self._variants = _VARIANTS[self._record_header]

    def link_types(self) -> tuple[int, ...]:
        """The one LINKTYPE of the file."""
        return (self._link_type,)

    def index(self, data: NDArray[np.uint8], position: int, stop: int, records: Records) -> Stop:
        """See `mtc.capture.records.Format`."""
        if self._variants:
            self._record_header = self._variant(data[position:stop])
            self._variants = ()
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

    def _variant(self, start: NDArray[np.uint8]) -> int:
        """The size of the record header, found from the first records.

        It is the usual one, unless some of the first records make no sense that way and all of them
        do with another: a file that is damaged must not be taken for an odd one.
        """
        if self._first_records(start, self._record_header) is None:
            for size in self._variants:
                if (self._first_records(start, size) or 0) >= 2:
                    return size
        return self._record_header

    def _first_records(self, start: NDArray[np.uint8], header_size: int) -> int | None:
        """How many whole records of this header size ``start`` begins with; None if one makes no sense."""
        fields = _FIELDS[self._big_endian]
        at, found = 0, 0
        while at + header_size <= len(start) and found < _PROBE_RECORDS:
            fraction, caplen, wirelen = fields.unpack_from(start.data, at + 4)
            if fraction >= 1_000_000 or caplen > min(wirelen, self._max_caplen):
                return None
            at += header_size + caplen
            found += at <= len(start) and caplen > 0
        return found


# Data link types of RFC 1761 and its registry to LINKTYPE numbers.
_LINK_TYPES = {0: 1, 2: 6, 4: 1, 8: 10, 26: 226}


class Snoop:
    """Reads the records of one snoop file."""

    name = "snoop"
    header_bytes = 16

    def __init__(self, head: bytes) -> None:
        """Read the file header.

        Args:
            head: The first bytes of the file.

        Raises:
            CaptureError: The header is cut off.
            UnsupportedFormat: Another version than 2, or a link layer without LINKTYPE.
        """
        if len(head) < self.header_bytes:
            raise CaptureError("cut off in the snoop file header")
        version, data_link = int.from_bytes(head[8:12], "big"), int.from_bytes(head[12:16], "big")
        if version != 2:
            raise UnsupportedFormat(f"snoop of version {version}, which is not read here")
        if data_link not in _LINK_TYPES:
            raise UnsupportedFormat(f"snoop of data link type {data_link}, which is not read here")
        self._link_type = _LINK_TYPES[data_link]

    def link_types(self) -> tuple[int, ...]:
        """The one LINKTYPE of the file."""
        return (self._link_type,)

    def index(self, data: NDArray[np.uint8], position: int, stop: int, records: Records) -> Stop:
        """See `mtc.capture.records.Format`."""
        first = records.count
        records.count, records.packet_bytes, position, state = kernels.index_snoop(
            data,
            position,
            stop,
            MAX_CAPLEN,
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
            reason = length_reason(int(data[position + 4 : position + 12].view(">u4").max()))
        elif state == kernels.BAD_LENGTH:
            reason = "a record that is shorter than the packet in it"
        return Stop(position, state, reason)
