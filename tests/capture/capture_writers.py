"""Plain writers of capture formats, straight from their specifications, for tests to read back."""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mtc.capture import Damage, Source, open_capture


class Packet(NamedTuple):
    """One packet: nanoseconds since the epoch, captured bytes, bytes on the wire, link type."""

    time_ns: int
    data: bytes
    wirelen: int
    link_type: int = 1


def read(source: str | Path | Source, *, batch_bytes: int = 16 << 20) -> tuple[list[Packet], Damage | None]:
    """All packets of a capture by the reader under test, each checked to lie inside its batch."""
    packets: list[Packet] = []
    with open_capture(source, batch_bytes=batch_bytes) as reader:
        for batch in reader:
            assert 0 < len(batch) <= 65_536
            assert batch.first_packet == len(packets) + 1
            assert not batch.data.flags.writeable
            assert (batch.offsets >= 0).all()
            assert (batch.caplens >= 0).all()
            assert (batch.offsets + batch.caplens <= len(batch.data)).all()
            assert len(batch) == 1 or batch.caplens.sum() <= batch_bytes
            packets += [
                Packet(
                    int(batch.timestamps[i]),
                    batch.packet(i).tobytes(),
                    int(batch.wirelens[i]),
                    int(batch.link_types[i]),
                )
                for i in range(len(batch))
            ]
        return packets, reader.damage


def pcap(
    packets: Iterable[Packet],
    order: str = "<",
    *,
    magic: int = 0xA1B2C3D4,
    version: tuple[int, int] = (2, 4),
    network: int = 1,
    snaplen: int = 262_144,
    unit_ns: int = 1000,
    swap: bool = False,
    extra: bytes = b"",
    header_extra: bytes = b"",
) -> bytes:
    """A pcap file; ``extra`` is appended to each record header, ``header_extra`` to the file's."""
    out = [struct.pack(order + "IHHiIII", magic, *version, 0, 0, snaplen, network), header_extra]
    for packet in packets:
        seconds, rest = divmod(packet.time_ns, 1_000_000_000)
        lengths = (packet.wirelen, len(packet.data)) if swap else (len(packet.data), packet.wirelen)
        out.append(struct.pack(order + "IIII", seconds, rest // unit_ns, *lengths))
        out += [extra, packet.data]
    return b"".join(out)


def snoop(packets: Iterable[Packet], data_link: int = 4) -> bytes:
    """A snoop file, whose records are padded to four bytes."""
    out = [b"snoop\0\0\0" + struct.pack(">II", 2, data_link)]
    for packet in packets:
        seconds, rest = divmod(packet.time_ns, 1_000_000_000)
        padding = -len(packet.data) % 4
        record = 24 + len(packet.data) + padding
        head = struct.pack(">IIIIII", packet.wirelen, len(packet.data), record, 0, seconds, rest // 1000)
        out.append(head + packet.data + bytes(padding))
    return b"".join(out)


def block(order: str, kind: int, body: bytes) -> bytes:
    """Any pcapng block."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(order: str, code: int, value: bytes) -> bytes:
    """An option of a pcapng block."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str, version: tuple[int, int] = (1, 0)) -> bytes:
    """A pcapng section header of unknown section length."""
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1))


def interface(order: str, link_type: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    """A pcapng interface description."""
    return block(order, 1, struct.pack(order + "HHI", link_type, 0, snaplen) + options)


def enhanced(order: str, ticks: int, data: bytes, wirelen: int, number: int = 0) -> bytes:
    """An enhanced packet block of interface ``number``."""
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFF_FFFF, len(data), wirelen)
    return block(order, 6, head + data)


def obsolete(order: str, ticks: int, data: bytes, wirelen: int, number: int = 0) -> bytes:
    """An obsolete packet block, with 7 drops."""
    head = struct.pack(order + "HHIIII", number, 7, ticks >> 32, ticks & 0xFFFF_FFFF, len(data), wirelen)
    return block(order, 2, head + data)


def simple(order: str, data: bytes, wirelen: int) -> bytes:
    """A simple packet block."""
    return block(order, 3, struct.pack(order + "I", wirelen) + data)


def pcapng(packets: Sequence[Packet], order: str = "<", *, resolution: int = 9) -> bytes:
    """A pcapng file of one section with an interface for each link type among the packets."""
    link_types = list(dict.fromkeys(packet.link_type for packet in packets)) or [1]
    options = option(order, 9, bytes([resolution])) + option(order, 0, b"")
    out = [section(order), *(interface(order, link_type, 0, options) for link_type in link_types)]
    for packet in packets:
        ticks = packet.time_ns // 10 ** (9 - resolution)
        number = link_types.index(packet.link_type)
        out.append(enhanced(order, ticks, packet.data, packet.wirelen, number))
    return b"".join(out)
