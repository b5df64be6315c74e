"""pcap of every age and kind, and snoop."""

import io
import struct
from pathlib import Path

import dpkt
import pytest
from capture_writers import Packet, pcap, read, snoop

from mtc.capture import Damage, open_capture
from mtc.errors import CaptureError, UnsupportedFormat

PACKETS = [
    Packet(1_700_000_000_123_456_000, bytes(range(60)), 60),
    Packet(1_700_000_001_000_001_000, b"\xff" * 33, 1514),
    Packet(0, b"", 0),
    Packet(4_294_967_295_999_999_000, b"end", 3),
]


def write(folder: Path, data: bytes) -> Path:
    path = folder / "capture"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_both_byte_orders_and_time_units(tmp_path: Path, order: str, magic: int, unit_ns: int) -> None:
    path = write(tmp_path, pcap(PACKETS, order, magic=magic, unit_ns=unit_ns))
    assert read(path) == (PACKETS, None)


def test_nanoseconds_are_kept(tmp_path: Path) -> None:
    packet = Packet(1_600_000_000_123_456_789, b"x", 1)
    assert read(write(tmp_path, pcap([packet], magic=0xA1B23C4D, unit_ns=1)))[0] == [packet]


@pytest.mark.parametrize("version", [(2, 0), (2, 2), (2, 3), (543, 0)])
def test_old_writers_swapped_the_lengths(tmp_path: Path, version: tuple[int, int]) -> None:
    assert read(write(tmp_path, pcap(PACKETS, version=version, swap=True))) == (PACKETS, None)


def test_version_2_3_may_also_hold_them_in_order(tmp_path: Path) -> None:
    assert read(write(tmp_path, pcap(PACKETS, version=(2, 3)))) == (PACKETS, None)


@pytest.mark.parametrize(
    ("magic", "extra"),
    [
        (0xA1B2CD34, struct.pack("<IHBB", 2, 0x0800, 0, 0)),
        (0xA1B2CD34, struct.pack("<IHBBBBH", 2, 0x0800, 0, 0, 0, 0, 0)),
        (0xA1B2C3D4, struct.pack("<IHBB", 2, 0x0800, 0, 0)),
        (0xA1B2C3D4, struct.pack("<I", 0x9FBFB601)),
    ],
    ids=["ss991029", "ss990915", "ss990417", "Nokia"],
)
def test_longer_record_headers_are_told_from_the_records(tmp_path: Path, magic: int, extra: bytes) -> None:
    packets = PACKETS[:2] * 3
    assert read(write(tmp_path, pcap(packets, magic=magic, extra=extra))) == (packets, None)


@pytest.mark.parametrize(("magic", "unit_ns"), [(0x1C0001AC, 1), (0x1C0001AB, 1000)])
@pytest.mark.parametrize("order", "<>")
def test_ixia(tmp_path: Path, magic: int, unit_ns: int, order: str) -> None:
    data = pcap(PACKETS, order, magic=magic, unit_ns=unit_ns, header_extra=b"\x11\x22\x33\x44")
    assert read(write(tmp_path, data)) == (PACKETS, None)


def test_aix_shows_itself_by_version_and_interface_type(tmp_path: Path) -> None:
    data = pcap(PACKETS, version=(2, 2), network=6, unit_ns=1, swap=True)
    assert read(write(tmp_path, data)) == (PACKETS, None)


@pytest.mark.parametrize("snaplen", [0, 1, 68, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_the_snaplen_of_the_header_is_not_believed(tmp_path: Path, snaplen: int) -> None:
    assert read(write(tmp_path, pcap(PACKETS, snaplen=snaplen))) == (PACKETS, None)


def test_fcs_bits_are_no_part_of_the_link_type(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(PACKETS, network=0x2400_0001))
    with open_capture(path) as reader:
        assert reader.link_types == (1,)
    assert read(path)[0] == PACKETS


def test_snoop(tmp_path: Path) -> None:
    path = write(tmp_path, snoop(PACKETS))
    with open_capture(path) as reader:
        assert (reader.format, reader.link_types) == ("snoop", (1,))
    assert read(path) == (PACKETS, None)


def test_agrees_with_dpkt(shared_data: Path) -> None:
    for path in sorted((shared_data / "iscx-mini").glob("*.pcap"))[::10]:
        found, damage = read(path)
        with path.open("rb") as file:
            expected = [(round(time * 1_000_000), data) for time, data in dpkt.pcap.Reader(file)]
        assert [(packet.time_ns // 1000, packet.data) for packet in found] == expected, path.name
        assert damage is None


def test_a_writer_of_others_is_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file, nano=True, linktype=101)
    writer.writepkt(b"\x45" + bytes(19), ts=12.5)
    packets, damage = read(write(tmp_path, file.getvalue()))
    assert packets == [Packet(12_500_000_000, b"\x45" + bytes(19), 20, 101)]
    assert damage is None


def test_a_file_without_records_is_valid(tmp_path: Path) -> None:
    assert read(write(tmp_path, pcap([]))) == ([], None)


@pytest.mark.parametrize("kept", range(1, 16))
def test_a_cut_record_is_damage_after_the_last_whole_one(tmp_path: Path, kept: int) -> None:
    whole = pcap(PACKETS[:2])
    _, damage = read(write(tmp_path, whole + pcap(PACKETS[:1])[24:][:kept]))
    assert damage == Damage(len(whole), "a record cut off by the end of the file")


@pytest.mark.parametrize("claim", [262_145, 0x0042_0000, 0xFFFF_FFFF])
@pytest.mark.parametrize("order", "<>")
def test_an_absurd_length_is_damage(tmp_path: Path, claim: int, order: str) -> None:
    whole = pcap(PACKETS[:2], order)
    record = struct.pack(order + "IIII", 1, 2, claim, claim) + bytes(100)
    packets, damage = read(write(tmp_path, whole + record))
    assert packets == PACKETS[:2]
    assert damage == Damage(len(whole), f"a record that claims {claim:,} bytes, more than any packet has")
    assert str(damage).startswith(f"damaged at byte {len(whole)}: ")


def test_the_longest_packet_is_read(tmp_path: Path) -> None:
    packet = Packet(0, bytes(262_144), 262_144)
    assert read(write(tmp_path, pcap([packet])), batch_bytes=1)[0] == [packet]


def test_usb_packets_may_be_longer(tmp_path: Path) -> None:
    packet = Packet(0, bytes(3 << 20), 3 << 20, 249)
    assert read(write(tmp_path, pcap([packet], network=249))) == ([packet], None)


@pytest.mark.parametrize("length", range(1, 24))
def test_a_cut_file_header_is_no_capture(tmp_path: Path, length: int) -> None:
    path = write(tmp_path, pcap([])[:length])
    with pytest.raises(
        CaptureError, match="cut off in the pcap file header" if length > 3 else "not a capture"
    ):
        open_capture(path)


def test_unknown_versions_and_reserved_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match=r"pcap of version 1\.4"):
        open_capture(write(tmp_path, pcap([], version=(1, 4))))
    with pytest.raises(CaptureError, match="reserved bits"):
        open_capture(write(tmp_path, pcap([], network=0x0030_0001)))
    with pytest.raises(UnsupportedFormat, match="snoop of version 3"):
        open_capture(write(tmp_path, b"snoop\0\0\0" + struct.pack(">II", 3, 4)))
    with pytest.raises(UnsupportedFormat, match="snoop of data link type 5"):
        open_capture(write(tmp_path, snoop([], data_link=5)))


def test_snoop_damage(tmp_path: Path) -> None:
    whole = snoop(PACKETS[:2])
    short = struct.pack(">IIIIII", 60, 60, 40, 0, 0, 0) + bytes(60)
    long = struct.pack(">IIIIII", 60, 60, 1 << 30, 0, 0, 0) + bytes(60)
    for record, reason in ((short, "shorter than the packet"), (long, "claims 1,073,741,824 bytes")):
        packets, damage = read(write(tmp_path, whole + record))
        assert packets == PACKETS[:2]
        assert damage is not None
        assert damage.offset == len(whole)
        assert reason in damage.reason
