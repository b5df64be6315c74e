"""What holds for any bytes: no exception but ours, no read past a packet, the same packets by every way."""

import gzip
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import zstandard
from capture_writers import Packet, enhanced, interface, obsolete, pcap, pcapng, read, section, simple, snoop
from hypothesis import given, settings
from hypothesis import strategies as st

from mtc.capture import Damage
from mtc.errors import CaptureError

times = st.integers(0, (1 << 32) - 1).map(lambda seconds: seconds * 1_000_000_000) | st.integers(
    0, 4_000_000_000_000_000
).map(lambda micros: micros * 1000)


@st.composite
def packet_lists(draw: st.DrawFn) -> list[Packet]:
    """Traffic of one link type, some of it cut by a snaplen."""
    link_type = draw(st.sampled_from([0, 1, 101, 113, 228, 276]))
    return [
        Packet(draw(times), data, len(data) + draw(st.sampled_from([0, 0, 1, 1400])), link_type)
        for data in draw(st.lists(st.binary(max_size=90), max_size=12))
    ]


def encode_all(packets: list[Packet]) -> dict[str, bytes]:
    link_type = packets[0].link_type if packets else 1
    files = {
        f"pcap{order}{magic:x}": pcap(packets, order, magic=magic, unit_ns=unit_ns, network=link_type)
        for order in "<>"
        for magic, unit_ns in ((0xA1B2C3D4, 1000), (0xA1B23C4D, 1))
    }
    for order in "<>":
        for resolution in (6, 9):
            files[f"pcapng{order}{resolution}"] = pcapng(packets, order, resolution=resolution)
        described = section(order) + interface(order, link_type)
        blocks = [obsolete(order, p.time_ns // 1000, p.data, p.wirelen) for p in packets]
        files[f"pcapng{order}obsolete"] = described + b"".join(blocks)
    if link_type == 1:
        files["snoop"] = snoop(packets)
    return files


@settings(max_examples=30, deadline=None)
@given(packets=packet_lists(), batch_bytes=st.integers(1, 2000))
def test_every_encoding_gives_the_same_packets(packets: list[Packet], batch_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "capture")
        for name, data in encode_all(packets).items():
            for stored in (data, gzip.compress(data, 1), zstandard.compress(data)):
                path.write_bytes(stored)
                assert read(path) == (packets, None), name
                assert read(path, batch_bytes=batch_bytes) == (packets, None), name


def read_or_refuse(path: Path) -> tuple[list[Packet], Damage | None] | None:
    """What `read` gives, or None for one of our errors in one line."""
    try:
        return read(path)
    except CaptureError as refused:
        message = str(refused)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return None


def assert_consistent(data: bytes) -> None:
    """Any bytes give packets or one of our errors, and the same from file and from stream."""
    with TemporaryDirectory() as folder:
        path, compressed = Path(folder, "capture"), Path(folder, "compressed")
        path.write_bytes(data)
        compressed.write_bytes(gzip.compress(data, 1))
        expected = read_or_refuse(path)
        if expected is None:
            assert read_or_refuse(compressed) is None
            return
        assert read(compressed) == expected
        assert read(path, batch_bytes=1) == expected
        assert read(compressed, batch_bytes=100) == expected
        packets, damage = expected
        assert sum(len(packet.data) for packet in packets) <= len(data)
        if damage is not None:
            assert 0 <= damage.offset <= len(data)


@settings(max_examples=100, deadline=None)
@given(
    start=st.sampled_from(
        [
            b"",
            pcap([])[:4],
            pcap([]),
            pcap([], ">"),
            pcap([], version=(2, 3)),
            pcap([], magic=0xA1B2CD34),
            snoop([]),
            section("<"),
            section(">") + interface(">"),
            section("<") + interface("<", 101, 50),
        ]
    ),
    rest=st.binary(max_size=300),
)
def test_arbitrary_bytes(start: bytes, rest: bytes) -> None:
    assert_consistent(start + rest)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A valid file, cut off, or with bits flipped, bytes replaced, removed or put in."""
    packets = draw(packet_lists())
    files = encode_all(packets)
    if packets:
        files["simple"] = (
            section("<") + interface("<") + b"".join(simple("<", p.data, p.wirelen) for p in packets)
        )
        files["mixed"] = b"".join(
            section(order)
            + interface(order, p.link_type)
            + interface(order, 1)
            + enhanced(order, p.time_ns, p.data, p.wirelen, number=1)
            for p, order in zip(packets, "<>" * len(packets), strict=False)
        )
    data = bytearray(files[draw(st.sampled_from(sorted(files)))])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        change = draw(st.sampled_from(["flip", "replace", "remove", "insert", "number"]))
        if change == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "replace":
            data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif change == "number":
            data[at : at + 4] = draw(
                st.sampled_from([bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"])
            )
        elif change == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif len(data) > 8:
            del data[at : at + draw(st.integers(1, 8))]
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=200, deadline=None)
@given(data=damaged_files())
def test_damaged_files(data: bytes) -> None:
    assert_consistent(data)


@settings(max_examples=50, deadline=None)
@given(packets=packet_lists(), form=st.sampled_from([pcap, pcapng]), data=st.data())
def test_a_truncated_file_gives_its_whole_packets(
    packets: list[Packet], form: Callable[[list[Packet]], bytes], data: st.DataObject
) -> None:
    packets = [packet._replace(link_type=1, time_ns=packet.time_ns // 1000 * 1000) for packet in packets]
    ends = [len(form(packets[:i])) for i in range(len(packets) + 1)]
    kept = data.draw(st.integers(min(28, ends[-1]), ends[-1]))
    with TemporaryDirectory() as folder:
        path = Path(folder, "capture")
        path.write_bytes(form(packets)[:kept])
        found, damage = read(path)
    whole = sum(kept >= end for end in ends[1:])
    assert found == packets[:whole]
    if kept == ends[-1]:
        assert damage is None
    elif kept > ends[whole] >= ends[0]:
        assert damage is not None
        assert damage.offset == ends[whole]


@settings(max_examples=50, deadline=None)
@given(
    compress=st.sampled_from([gzip.compress, zstandard.compress]),
    flips=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 7)), max_size=3),
    kept=st.integers(0, 4000),
)
def test_damaged_compression(
    compress: Callable[[bytes], bytes], flips: list[tuple[int, int]], kept: int
) -> None:
    capture = pcap([Packet(i, bytes([i % 7]) * (i % 50), 60) for i in range(300)])
    data = bytearray(compress(capture))
    for at, bit in flips:
        data[at % len(data)] ^= 1 << bit
    with TemporaryDirectory() as folder:
        path = Path(folder, "capture")
        path.write_bytes(data[: kept % (len(data) + 1)])
        found = read_or_refuse(path)
    if not flips and found is not None:
        assert found[0] == read_whole(capture)[: len(found[0])]


def read_whole(capture: bytes) -> list[Packet]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "capture")
        path.write_bytes(capture)
        return read(path)[0]
