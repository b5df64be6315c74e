"""pcapng: sections, interfaces, blocks old and new, and time stamps of any resolution."""

import io
import struct
from pathlib import Path

import dpkt
import pytest
from capture_writers import (
    Packet,
    block,
    enhanced,
    interface,
    obsolete,
    option,
    pcapng,
    read,
    section,
    simple,
)

from mtc.capture import open_capture
from mtc.errors import CaptureError, UnsupportedFormat

NOW = 1_700_000_000_123_456_789


def write(folder: Path, *parts: bytes) -> Path:
    path = folder / "capture"
    path.write_bytes(b"".join(parts))
    return path


def timed(order: str, resolution: int, offset_s: int | None = None, link_type: int = 1) -> bytes:
    options = option(order, 2, b"eth0") + option(order, 9, bytes([resolution]))
    if offset_s is not None:
        options += option(order, 14, struct.pack(order + "q", offset_s))
    return interface(order, link_type, 0, options + option(order, 0, b""))


@pytest.mark.parametrize("order", "<>")
def test_all_packet_blocks(tmp_path: Path, order: str) -> None:
    path = write(
        tmp_path,
        section(order),
        interface(order, 1, snaplen=8),
        interface(order, 101),
        enhanced(order, 5, b"abcde", 9, number=1),
        obsolete(order, 1 << 33, b"abcdef", 6),
        simple(order, b"abcdefgh", 4000),
        simple(order, b"abc", 3),
    )
    packets, damage = read(path)
    assert damage is None
    assert packets == [
        Packet(5_000, b"abcde", 9, 101),
        Packet((1 << 33) * 1000, b"abcdef", 6, 1),
        Packet(0, b"abcdefgh", 4000, 1),
        Packet(0, b"abc", 3, 1),
    ]
    with open_capture(path) as reader:
        list(reader)
        assert (reader.format, reader.link_types) == ("pcapng", (101, 1))


def test_sections_of_both_byte_orders_with_their_own_interfaces(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        section("<"),
        interface("<", 113),
        enhanced("<", 1, b"one", 3),
        section(">", (1, 2)),
        interface(">", 228),
        interface(">", 229),
        enhanced(">", 2, b"two", 3, number=1),
        section("<"),
        interface("<", 276),
        enhanced("<", 3, b"three", 5),
    )
    packets, damage = read(path)
    assert damage is None
    assert [(packet.data, packet.link_type) for packet in packets] == [
        (b"one", 113),
        (b"two", 229),
        (b"three", 276),
    ]
    with open_capture(path) as reader:
        list(reader)
        assert reader.link_types == (113, 229, 276)


@pytest.mark.parametrize("order", "<>")
def test_other_blocks_are_stepped_over(tmp_path: Path, order: str) -> None:
    others = [
        block(order, 4, b"names"),
        block(order, 5, bytes(20)),
        block(order, 10, bytes(1000)),
        block(order, 0x0BAD, struct.pack(order + "I", 32473) + b"custom"),
        block(order, 0x4000_0BAD, struct.pack(order + "I", 32473)),
        block(order, 0x7777_7777, b""),
    ]
    path = write(
        tmp_path, section(order), others[0], interface(order), *others, enhanced(order, 7, b"x", 1), *others
    )
    assert read(path) == ([Packet(7_000, b"x", 1)], None)


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected"),
    [
        (0, 12, 12_000_000_000),
        (3, 1234, 1_234_000_000),
        (6, NOW // 1000, NOW // 1000 * 1000),
        (9, NOW, NOW),
        (12, 17 * 10**18 + 999, 17 * 10**15),
        (127, 1, 0),
        (0x80, 3, 3_000_000_000),
        (0x80 | 10, 1536, 1_500_000_000),
        (0x80 | 32, (5 << 32) | (1 << 30), 5_250_000_000),
        (0x80 | 60, 3 << 59, 1_500_000_000),
        (0x80 | 127, 1 << 63, 1_000_000_000),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_time_resolution(tmp_path: Path, resolution: int, ticks: int, expected: int, order: str) -> None:
    path = write(tmp_path, section(order), timed(order, resolution), enhanced(order, ticks, b"x", 1))
    assert read(path)[0][0].time_ns == expected


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("offset_s", "ticks", "expected"),
    [
        (1_600_000_000, 250, 1_600_000_000_000_250_000),
        (-3600, 3_601_000_000, 1_000_000_000),
        (-3600, 1, -3_599_999_999_000),
        (-9_223_372_036, 1, -9_223_372_035_999_999_000),
        (9_223_372_036, 854_775, 9_223_372_036_854_775_000),
    ],
    ids=["later", "earlier", "before 1970", "the first year", "the last year"],
)
def test_time_offset(tmp_path: Path, order: str, offset_s: int, ticks: int, expected: int) -> None:
    path = write(tmp_path, section(order), timed(order, 6, offset_s), enhanced(order, ticks, b"x", 1))
    packets, damage = read(path)
    assert packets[0].time_ns == expected
    assert damage is None


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("resolution", "offset_s", "ticks"),
    [
        (0, 0, (1 << 64) - 1),
        (6, 0, (1 << 64) - 1),
        (0x80, 0, (1 << 64) - 1),
        (6, (1 << 63) - 1, 1 << 50),
        (6, -(1 << 63), 1000),
        (6, 9_223_372_036, 854_776),
        (6, 1_600_000_000, (1 << 64) - 1),
    ],
)
def test_a_time_that_nanoseconds_cannot_hold_is_reported(
    tmp_path: Path, order: str, resolution: int, offset_s: int, ticks: int
) -> None:
    begin = section(order) + timed(order, resolution, offset_s) + timed(order, 9)
    path = write(tmp_path, begin, enhanced(order, ticks, b"x", 1), enhanced(order, 7, b"later", 5, number=1))
    packets, damage = read(path)
    assert [(packet.data, packet.time_ns) for packet in packets] == [(b"x", 0), (b"later", 7)]
    assert damage is not None
    assert "before 1677 or after 2262 in 1 packets" in str(damage)
    assert len(begin) <= damage.offset < path.stat().st_size


def test_lengths_without_the_padding_are_understood(tmp_path: Path) -> None:
    body = struct.pack("<IIIII", 0, 0, 1, 3, 3) + b"abc"
    length = struct.pack("<I", 12 + len(body))
    unpadded = struct.pack("<I", 6) + length + body + b"\0" + length
    path = write(tmp_path, section("<"), interface("<"), unpadded, enhanced("<", 2, b"next", 4))
    packets, damage = read(path)
    assert damage is None
    assert [packet.data for packet in packets] == [b"abc", b"next"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (enhanced("<", 0, b"x", 1, number=1), "an interface that was not described"),
        (obsolete("<", 0, b"x", 1, number=0xFFFF), "an interface that was not described"),
        (struct.pack("<III", 6, 12, 12), "too short for"),
        (struct.pack("<III", 6, 8, 8), "too short for"),
        (struct.pack("<III", 1, 12, 12), "too short for"),
        (struct.pack("<IIII", 6, 0xFFFF_FFF0, 0, 0), "claims 4,294,967,280 bytes"),
        (struct.pack("<IIII", 99, 0xFFFF_FFF0, 0, 0), "claims 4,294,967,280 bytes"),
        (enhanced("<", 0, b"x" * 9, 9)[:-4] + b"\1\0\0\0", "two lengths differ"),
        (interface("<")[:-4] + b"\1\0\0\0", "two lengths differ"),
        (
            block("<", 6, struct.pack("<IIIII", 0, 0, 0, 50, 50) + bytes(40)),
            "too short for",
        ),
        (
            block("<", 6, struct.pack("<IIIII", 0, 0, 0, 1 << 31, 50) + bytes(40)),
            "claims 2,147,483,648 bytes",
        ),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "without byte-order magic"),
        (section("<", (9, 9)), "pcapng of version 9.9"),
        (section(">")[:-4] + bytes(4), "two lengths differ"),
        (enhanced("<", 0, b"x" * 50, 50)[:60], "cut off by the end of the file"),
        (section("<")[:20], "cut off by the end of the file"),
        (interface("<")[:16], "cut off by the end of the file"),
        (b"\x06\0\0", "cut off by the end of the file"),
    ],
)
def test_damage(tmp_path: Path, bad: bytes, reason: str) -> None:
    whole = section("<") + interface("<") + enhanced("<", 1, b"first", 5)
    packets, damage = read(write(tmp_path, whole, bad))
    assert packets == [Packet(1000, b"first", 5)]
    assert damage is not None
    assert damage.offset == len(whole)
    assert reason in damage.reason


def test_a_simple_packet_needs_an_interface(tmp_path: Path) -> None:
    packets, damage = read(write(tmp_path, section("<"), simple("<", b"x", 1)))
    assert packets == []
    assert damage is not None
    assert damage.offset == 28


def test_thousands_of_interfaces_and_endless_options(tmp_path: Path) -> None:
    described = [interface("<", number % 300) for number in range(5000)]
    packets = [enhanced("<", number, b"x", 1, number=number) for number in range(0, 5000, 7)]
    endless = block("<", 1, struct.pack("<HHI", 1, 0, 0) + option("<", 3, b"") * 100_000)
    path = write(
        tmp_path, section("<"), *described, *packets, endless, enhanced("<", 1, b"y", 1, number=5000)
    )
    found, damage = read(path)
    assert damage is None
    assert [packet.link_type for packet in found] == [*(number % 300 for number in range(0, 5000, 7)), 1]
    with open_capture(path) as reader:
        list(reader)
        assert reader.link_types[:3] == (0, 7, 14)
        assert len(reader.link_types) == 300


def test_the_first_section_must_make_sense(tmp_path: Path) -> None:
    for version in ((0, 1), (1, 1), (2, 0)):
        with pytest.raises(UnsupportedFormat, match="pcapng of version"):
            open_capture(write(tmp_path, section("<", version)))
    with pytest.raises(CaptureError, match="not a capture"):
        open_capture(write(tmp_path, b"\x0a\x0d\x0d\x0a" + bytes(24)))
    for length in range(4, 28):
        with pytest.raises(CaptureError, match="cut off in the pcapng section header"):
            open_capture(write(tmp_path, section("<")[:length]))


def test_agrees_with_dpkt(shared_data: Path) -> None:
    compared = 0
    for path in sorted((shared_data / "labelled-captures" / "captures").glob("*.pcapng")):
        found, _ = read(path)
        try:
            expected = [data for _, data in dpkt.pcapng.Reader(io.BytesIO(path.read_bytes()))]
        except (ValueError, dpkt.Error):
            continue  # dpkt reads neither several interfaces nor old blocks
        if len(expected) == len(found):
            assert [packet.data for packet in found] == expected, path.name
            compared += 1
    assert compared >= 8


def test_written_by_another(tmp_path: Path) -> None:
    file = io.BytesIO()
    writer = dpkt.pcapng.Writer(file)
    writer.writepkt(b"hello", ts=1_700_000_000.25)
    assert read(write(tmp_path, file.getvalue()))[0] == [Packet(1_700_000_000_250_000_000, b"hello", 5)]


def test_an_empty_section_is_valid(tmp_path: Path) -> None:
    path = write(tmp_path, section("<"), interface("<", 101), interface("<", 1))
    with open_capture(path) as reader:
        assert list(reader) == []
        assert reader.link_types == (101, 1)  # without packets, those described
    assert read(write(tmp_path, pcapng([]))) == ([], None)
    assert read(write(tmp_path, section(">"))) == ([], None)
