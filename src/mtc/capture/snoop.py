"""The snoop format of Solaris: RFC 1761."""

import numpy as np
from numpy.typing import NDArray

from mtc.capture import kernels
from mtc.capture.records import MAX_CAPLEN, Records, Stop, length_reason
from mtc.errors import CaptureError, UnsupportedFormat

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
