"""Flow sequences against a plain reading with dpkt, and what is derived from them."""

import csv
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtc.capture import PacketBatch
from mtc.flows.augment import augment
from mtc.flows.sequences import (
    HEAD,
    PACKETS,
    ROW_BYTES,
    STEP,
    SequenceTable,
    sequence_packets,
)
from mtc.flows.shape import MISSING, SHAPE, shapes
from mtc.flows.stream import read_sequences
from mtc.packets import decode

Packet = tuple[int, int, int, bytes, int]  # forward?, protocol, time in microseconds, payload, flags

PACKET = st.tuples(
    st.integers(0, 1), st.just(6), st.integers(0, 5_000_000), st.binary(min_size=1, max_size=40),
    st.sampled_from([0x10, 0x18]),
)  # fmt: skip


def ip_packet(packet: Packet, port: int = 40000) -> bytes:
    forward, protocol, _, payload, flags = packet
    ports = (port, 443) if forward else (443, port)
    ends = (b"\x0a\0\0\1", b"\x0a\0\0\2") if forward else (b"\x0a\0\0\2", b"\x0a\0\0\1")
    if protocol == 6:
        body: Any = dpkt.tcp.TCP(sport=ports[0], dport=ports[1], flags=flags, data=payload)
    else:
        body = dpkt.udp.UDP(sport=ports[0], dport=ports[1], ulen=8 + len(payload), data=payload)
    return bytes(dpkt.ip.IP(src=ends[0], dst=ends[1], p=protocol, data=body, ttl=64))


def write_capture(path: Path, packets: list[Packet]) -> None:
    """Write a pcap of raw IP packets with times in nanoseconds."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101)]
    for packet in packets:
        data, (seconds, rest) = ip_packet(packet), divmod(packet[2], 1_000_000)
        parts += [struct.pack("<IIII", seconds + 1, rest * 1000, len(data), len(data)), data]
    path.write_bytes(b"".join(parts))


def values_of(row: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    values = np.ascontiguousarray(row).view(np.int32)
    return [tuple(values[HEAD + STEP * k :][:STEP].tolist()) for k in range(int(row[2]))]


def plain_sequences(file: Path) -> list[list[tuple[int, int, int]]]:
    """Sequences as a plain reading of a raw IP capture gives them, flows in the order of first packets."""
    flows: dict[Any, list[Any]] = {}
    with file.open("rb") as opened:
        for time, data in dpkt.pcap.Reader(opened):
            ip = dpkt.ip.IP(data)
            if not isinstance(ip.data, dpkt.tcp.TCP | dpkt.udp.UDP):
                continue
            ends = (ip.src, ip.data.sport), (ip.dst, ip.data.dport)
            sequence = flows.setdefault((ip.p, frozenset(ends)), [])
            if len(ip.data.data) and len(sequence) < PACKETS:
                flags = ip.data.flags if isinstance(ip.data, dpkt.tcp.TCP) else 0
                sequence.append((ends[0], round(float(time) * 1e6), len(ip.data.data), flags))
    found = []
    for sequence in flows.values():
        if sequence:
            times = [sequence[0][1], *(time for _, time, _, _ in sequence)]
            found.append(
                [
                    (size if sender == sequence[0][0] else -size, time - before, flags)
                    for (sender, time, size, flags), before in zip(sequence, times, strict=False)
                ]
            )
    return found


@pytest.mark.parametrize("kind", ["plain_", "wireguard_", "openvpn-udp_"])
def test_recorded_flows_agree_with_a_plain_reading(shared_data: Path, kind: str) -> None:
    with (shared_data / "lab" / "labels.csv").open(encoding="utf-8") as file:
        captures = [row["capture"] for row in csv.DictReader(file) if f"/{kind}" in row["capture"]]
    for capture in captures[::20]:
        rows, records, _ = read_sequences(shared_data / "lab" / capture)
        expected = plain_sequences(shared_data / "lab" / capture)
        assert len(rows) == len(records) == len(expected)
        for row, sequence in zip(rows, expected, strict=True):
            found = values_of(row)
            assert [(size, flags) for size, _, flags in found] == [(s, f) for s, _, f in sequence]
            gaps = np.array([[gap, other[1]] for (_, gap, _), other in zip(found, sequence, strict=True)])
            assert np.abs(gaps[:, 0] - gaps[:, 1]).max() <= 2  # each time is rounded to a microsecond


def test_leading_bytes_are_kept_each_way_and_nothing_else_of_the_payload(tmp_path: Path) -> None:
    hello = b"\x16\x03\x01\x02\x00server.example.net"
    packets = [(1, 6, 0, hello, 0x18), (0, 6, 100, b"\x17\x03", 0x18), (1, 6, 300, b"GET /", 0x18)]
    write_capture(tmp_path / "a.pcap", packets)
    ((row,), records, _) = read_sequences(tmp_path / "a.pcap")
    assert row[:4].tolist() == [1, 6, 3, 3 + 16 * 2]
    assert row[4:12].tolist() == [0x16, 3, 1, 0, 0x17, 3, 0, 0]
    assert values_of(row) == [(len(hello), 0, 0x18), (-2, 100, 0x18), (5, 200, 0x18)]
    assert b"server" not in row.tobytes()
    assert len(records) == 1


def test_a_row_is_used_again_after_it_was_cleared(tmp_path: Path) -> None:
    table = SequenceTable()
    for port, size in ((1000, 5), (2000, 7)):
        batch = batch_of([ip_packet((1, 6, 0, b"x" * size, 0x18), port)])
        packets = sequence_packets(batch, decode(batch), np.zeros(1, np.int64))
        table.add(packets, np.zeros(1, np.int64))
        assert values_of(table.sequences(np.zeros(1, np.int64))[0]) == [(size, 0, 0x18)]
        table.clear(np.zeros(1, np.int64))
    assert table.counts(np.array([0])).tolist() == [0]


def batch_of(packets: list[bytes]) -> PacketBatch:
    lengths = np.array([len(packet) for packet in packets], np.int64)
    return PacketBatch(
        data=np.frombuffer(b"".join(packets), np.uint8),
        offsets=np.cumsum(lengths) - lengths,
        caplens=lengths,
        wirelens=lengths,
        timestamps=np.arange(len(packets), dtype=np.int64),
        link_types=np.full(len(packets), 101, np.int32),
        first_packet=1,
    )


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.binary(max_size=90), st.integers(0, 3)), min_size=1, max_size=80))
def test_foreign_bytes_never_lead_a_sequence_out_of_its_row(packets: list[tuple[bytes, int]]) -> None:
    frames = [b"\x45\0\0\x2a" + bytes(5) + b"\x11" + bytes(10) + data for data, _ in packets]
    batch = batch_of(frames)
    headers = decode(batch)
    chosen = headers.sample_rows()
    rows = np.array([row for _, row in packets], np.int64)[chosen]
    table = SequenceTable()
    table.grow(4)
    table.add(sequence_packets(batch, headers, chosen), rows)
    counts = table.counts(np.arange(4))
    assert counts.tolist() == [min(int((rows == row).sum()), PACKETS) for row in range(4)]


@pytest.mark.slow
@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(st.lists(PACKET, min_size=1, max_size=40))
def test_numbers_of_the_first_packets_do_not_depend_on_later_ones(
    tmp_path: Path, packets: list[Packet]
) -> None:
    packets = sorted(packets, key=lambda packet: packet[2])
    write_capture(tmp_path / "whole.pcap", packets)
    whole, _, _ = read_sequences(tmp_path / "whole.pcap")
    for cut in (1, 3, 5, len(packets)):
        write_capture(tmp_path / "cut.pcap", packets[:cut])
        part, _, _ = read_sequences(tmp_path / "cut.pcap")
        np.testing.assert_array_equal(shapes(whole, cut), shapes(part))


def test_statistics_are_those_of_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(1, 90_000, 20))
    packets = [
        (int(rng.integers(0, 2)) if k else 1, 17, int(time), b"x" * int(rng.integers(1, 1400)), 0)
        for k, time in enumerate(times)
    ]
    write_capture(tmp_path / "a.pcap", packets)
    rows, _, _ = read_sequences(tmp_path / "a.pcap")
    found = dict(zip(SHAPE, shapes(rows)[0].tolist(), strict=True))
    sizes = np.array([len(payload) for *_, payload, _ in packets])
    back = np.array([not forward for forward, *_ in packets])
    sides: dict[str, Any] = defaultdict(lambda: np.ones(20, bool), forward=~back, back=back)
    for side in ("both", "forward", "back"):
        chosen = sizes[sides[side]]
        gaps = np.log10(np.maximum(np.diff(times[sides[side]]), 1))
        for name, value in {
            "packets": len(chosen), "bytes": chosen.sum(), "size_mean": chosen.mean(),
            "size_std": chosen.std(), "size_min": chosen.min(), "size_max": chosen.max(),
            "gap_mean": gaps.mean(), "gap_std": gaps.std(), "gap_max": gaps.max(),
        }.items():  # fmt: skip
            assert found[f"{side}_{name}"] == pytest.approx(value, rel=1e-5), (side, name)
    assert found["protocol"] == 17
    assert found["duration"] == pytest.approx(np.log10(times[-1] - times[0]))
    assert found["bursts"] == 1 + np.count_nonzero(np.diff(back.astype(int)))
    assert found["size_20"] == found["gap_0"] == MISSING


def test_copies_are_sequences_of_the_same_flows(shared_data: Path) -> None:
    captures = sorted((shared_data / "lab" / "captures").glob("wireguard_*"))[::8]
    rows = np.concatenate([read_sequences(capture)[0] for capture in captures])
    copies = augment(rows, np.random.default_rng(1), crop=0.5, cut=0.5)
    assert copies.shape == rows.shape == (len(rows), ROW_BYTES)
    assert ((copies[:, 2] >= 1) & (copies[:, 2] <= PACKETS)).all()
    assert (copies[:, 2] < rows[:, 2]).mean() > 0.3
    assert (copies[:, :2] == rows[:, :2]).all()
    again = augment(rows, np.random.default_rng(1), crop=0.5, cut=0.5)
    assert (copies == again).all()
