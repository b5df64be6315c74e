"""The pcapng format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html."""

import numpy as np
from numpy.typing import NDArray

from mtc.capture import kernels
from mtc.capture.formats import PCAPNG_BYTE_ORDERS
from mtc.capture.records import Records, Stop, length_reason, max_caplen
from mtc.errors import CaptureError, UnsupportedFormat

_MAX_BLOCK = 16 << 20
_SECTION, _INTERFACE = 0x0A0D0D0A, 1
_OPT_END, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14
_MAX_OPTIONS = 1000
_FAR = (1 << 63) - 1


class Pcapng:
    """Reads the packet blocks of one pcapng file: sections of either byte order, many interfaces."""

    name = "pcapng"
    header_bytes = 0  # the first section header is a block like the others

    def __init__(self, head: bytes) -> None:
        """Look at the first section header.

        Args:
            head: The first bytes of the file.

        Raises:
            CaptureError: The header is cut off or makes no sense.
            UnsupportedFormat: The section is of another version than 1.0 or 1.2.
        """
        if len(head) < 28:
            raise CaptureError("cut off in the pcapng section header")
        self._big_endian = False
        self._interfaces = np.zeros((4, 7), np.int64)
        self._interface_count = 0
        self._declared: dict[int, None] = {}  # ordered sets
        self._seen: dict[int, None] = {}
        self._max_block = _MAX_BLOCK
        if reason := self._begin_section(head):
            error = UnsupportedFormat if "version" in reason else CaptureError
            raise error(reason)

    def link_types(self) -> tuple[int, ...]:
        """LINKTYPEs of interfaces with packets, by first packet; else of the interfaces described."""
        self._note_interfaces()
        return tuple(self._seen or self._declared)

    def index(self, data: NDArray[np.uint8], position: int, stop: int, records: Records) -> Stop:
        """See `mtc.capture.records.Format`."""
        if records.count == 0:
            self._note_interfaces()
        while True:
            records.count, records.packet_bytes, position, state = kernels.index_pcapng(
                data,
                position,
                stop,
                self._big_endian,
                self._interfaces,
                self._interface_count,
                self._max_block,
                records.max_bytes,
                records.count,
                records.packet_bytes,
                records.offsets,
                records.caplens,
                records.wirelens,
                records.timestamps,
                records.link_types,
            )
            if state != kernels.CONTROL:
                return Stop(position, state, self._reason(data, position, state))
            begin = data[position : position + 28].tobytes()
            if begin[:4] == b"\x0a\x0d\x0d\x0a":
                if len(begin) < 28:
                    return Stop(position, kernels.MORE)
                if reason := self._begin_section(begin):
                    return Stop(position, kernels.BAD_LENGTH, reason)
            length = self._number(begin[4:8])
            if length > _MAX_BLOCK:
                return Stop(position, kernels.TOO_LONG, self._reason(data, position, kernels.TOO_LONG))
            step = (length + 3) & ~3
            if length < 20 or (begin[:4] == b"\x0a\x0d\x0d\x0a" and length < 28):
                return Stop(position, kernels.BAD_LENGTH, self._reason(data, position, kernels.BAD_LENGTH))
            if stop - position < step:
                return Stop(position, kernels.MORE)
            block = data[position : position + step].tobytes()
            if self._number(block[-4:]) != length:
                return Stop(position, kernels.BAD_TRAILER, self._reason(data, position, kernels.BAD_TRAILER))
            if begin[:4] != b"\x0a\x0d\x0d\x0a":
                self._add_interface(block)
            position += step

    def _number(self, field: bytes) -> int:
        return int.from_bytes(field, "big" if self._big_endian else "little")

    def _begin_section(self, block: bytes) -> str:
        """Start over with the section whose header begins with ``block``; a reason where it is unfit."""
        if block[8:12] not in PCAPNG_BYTE_ORDERS:
            return "a pcapng section header without byte-order magic"
        self._note_interfaces()
        self._big_endian = PCAPNG_BYTE_ORDERS[block[8:12]] == "big"
        self._interface_count = 0
        major, minor = self._number(block[12:14]), self._number(block[14:16])
        if (major, minor) not in ((1, 0), (1, 2)):  # 1.2 was written by mistake, and means 1.0
            return f"pcapng of version {major}.{minor}, which is not read here"
        return ""

    def _add_interface(self, block: bytes) -> None:
        """Enter the interface described by a whole ``block`` into the table."""
        link_type, snaplen = self._number(block[8:10]), self._number(block[12:16])
        resolution, offset_s = 6, 0
        at, end = 16, len(block) - 4
        for _ in range(_MAX_OPTIONS):
            if end - at < 4:
                break
            code, length = self._number(block[at : at + 2]), self._number(block[at + 2 : at + 4])
            value = block[at + 4 : min(at + 4 + length, end)]
            if code == _OPT_END or len(value) < length:
                break
            if code == _IF_TSRESOL and length == 1:
                resolution = value[0]
            elif code == _IF_TSOFFSET and length == 8:
                offset_s = (self._number(value) ^ 1 << 63) - (1 << 63)  # signed
            at += 4 + ((length + 3) & ~3)
        if self._interface_count == len(self._interfaces):
            self._interfaces = np.concatenate([self._interfaces, np.zeros_like(self._interfaces)])
        offset_ns = offset_s * 1_000_000_000
        if abs(offset_ns) > _FAR:
            offset_ns = int(kernels.OUT_OF_RANGE)
        limit = max_caplen(link_type)
        unit, scale = _tick(resolution)
        row = self._interfaces[self._interface_count]
        row[kernels.LINK_TYPE], row[kernels.SNAPLEN], row[kernels.MAX_CAPLEN] = link_type, snaplen, limit
        row[kernels.UNIT], row[kernels.SCALE], row[kernels.OFFSET_NS] = unit, scale, offset_ns
        row[kernels.FIRST_ROW] = kernels.UNSEEN
        self._interface_count += 1
        self._max_block = max(self._max_block, limit + 65536)
        self._declared[link_type] = None

    def _note_interfaces(self) -> None:
        """Remember the link types of interfaces that got their first packet, in that order."""
        first_rows = self._interfaces[: self._interface_count, kernels.FIRST_ROW]
        new = np.flatnonzero(first_rows >= 0)
        for i in new[np.argsort(first_rows[new], kind="stable")]:
            self._seen[int(self._interfaces[i, kernels.LINK_TYPE])] = None
            first_rows[i] = kernels.NOTED

    def _reason(self, data: NDArray[np.uint8], position: int, state: int) -> str:
        length = self._number(data[position + 4 : position + 8].tobytes())
        if state == kernels.TOO_LONG:
            if length <= self._max_block:  # then it is the packet inside that claims too much
                length = self._number(data[position + 20 : position + 24].tobytes())
            return length_reason(length)
        if state == kernels.BAD_LENGTH:
            return f"a block of {length} bytes, which is too short for what it should hold"
        if state == kernels.BAD_TRAILER:
            return "a block whose two lengths differ"
        if state == kernels.BAD_INTERFACE:
            return "a packet of an interface that was not described"
        return ""


def _tick(resolution: int) -> tuple[int, int]:
    """``(unit, scale)`` of the kernels for an ``if_tsresol``."""
    exponent = resolution & 0x7F
    if resolution & 0x80:
        # beyond 63 bits a tick is a fraction of any second that 64 bits can count
        return kernels.BINARY, min(exponent, 63)
    if exponent <= 9:
        return kernels.MULTIPLY, 10 ** (9 - exponent)
    return kernels.DIVIDE, 10 ** min(exponent - 9, 18)
