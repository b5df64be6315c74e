"""Filters against libpcap's own machine."""

from pathlib import Path

import numpy as np
import pytest

import mtc
from mtc.capture import PacketBatch, open_capture
from mtc.capture.bpf import FilterError, _sound, compile_filter, passes

pcapy = pytest.importorskip("pcapy", reason="filters need pcapy-ng, which is not installed")

FILTERS = (
    "tcp",
    "udp port 5060",
    "tcp port 443 or tcp port 6697",
    "not net 192.0.2.0/24",
    "ip6 or (ip and not tcp)",
    "len > 200",
    "less 100",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "ip[2:2] * 3 + 7 > 700 and ip[8] % 2 = 0",
    "(ip[2:2] - 20) / 3 > 100 and ip[4:4] ^ 0xffffffff != 0",
    "ip[2:2] << 20 > 0x80000000 or ip[0] | 3 = 0x47",
    "portrange 1000-7000",
    "ether host 02:00:00:00:00:01 or vlan",
)


def _batch(packets: list[bytes], wirelens: list[int] | None = None) -> PacketBatch:
    caplens = np.array([len(packet) for packet in packets], np.int64)
    return PacketBatch(
        data=np.frombuffer(b"".join(packets), np.uint8),
        offsets=np.cumsum(caplens) - caplens,
        caplens=caplens,
        wirelens=caplens if wirelens is None else np.array(wirelens, np.int64),
        timestamps=np.zeros(len(packets), np.int64),
        link_types=np.ones(len(packets), np.int32),
        first_packet=1,
    )


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """The demo's packets, whole and cut anywhere, and noise."""
    demo = Path(mtc.__file__).parent / "assets" / "demo.pcap"
    rng = np.random.default_rng(0)
    found = []
    with open_capture(demo) as reader:
        for batch in reader:
            found += [batch.packet(i).tobytes() for i in range(len(batch))]
    cut = [packet[: rng.integers(0, len(packet) + 1)] for packet in found[:400]]
    noise = [rng.integers(0, 256, rng.integers(0, 90), np.uint8).tobytes() for _ in range(300)]
    return [packet for packet in (*found, *cut, *noise) if packet]


@pytest.mark.parametrize("text", FILTERS)
def test_passes_what_libpcap_passes(text: str, packets: list[bytes]) -> None:
    oracle = pcapy.compile(1, 262144, text, 1, 0xFFFFFFFF)
    expected = [bool(oracle.filter(packet)) for packet in packets]
    assert passes(compile_filter(text, 1), _batch(packets)).tolist() == expected


def test_the_filters_tell_packets_apart(packets: list[bytes]) -> None:
    shares = [passes(compile_filter(text, 1), _batch(packets)).mean() for text in FILTERS]
    assert sum(0 < share < 1 for share in shares) >= 10


def test_the_length_is_that_on_the_wire(packets: list[bytes]) -> None:
    short = [packets[0][:40]] * 2
    assert passes(compile_filter("len > 200", 1), _batch(short, [1000, 40])).tolist() == [True, False]


def test_raw_ip_has_no_ethernet_header(packets: list[bytes]) -> None:
    raw = [packet[14:] for packet in packets[:200]]
    assert passes(compile_filter("tcp", 101), _batch(raw)).any()
    assert (
        passes(compile_filter("tcp", 101), _batch(raw)).tolist()
        == passes(compile_filter("tcp", 1), _batch(packets[:200])).tolist()
    )
    with pytest.raises(FilterError, match="ether"):
        compile_filter("ether host 02:00:00:00:00:01", 101)


@pytest.mark.parametrize("text", ["tcp prt 443", "host 1.2.3.4.5", "((tcp)", "port 99999999"])
def test_a_wrong_filter_is_told_in_one_line(text: str) -> None:
    with pytest.raises(FilterError, match="filter") as error:
        compile_filter(text, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "program",
    [
        [],
        [(0x28, 0, 0, 12)],  # does not end
        [(0x15, 5, 0, 1), (0x06, 0, 0, 1)],  # jumps out of itself
        [(0x05, 0, 0, 9), (0x06, 0, 0, 1)],
        [(0x02, 0, 0, 16), (0x06, 0, 0, 1)],  # stores behind its memory
        [(0x60, 0, 0, 99), (0x06, 0, 0, 1)],
        [(0x34, 0, 0, 0), (0x06, 0, 0, 1)],  # divides by nothing
        [(0x28, 0, 0, 0xFFFFF034), (0x06, 0, 0, 1)],  # asks Linux for more than bytes
    ],
    ids=str,
)
def test_unsound_programs_are_not_run(program: list) -> None:
    assert not _sound(np.array(program, np.int64).reshape(-1, 4))
