"""From capture files to samples: read_samples, iter_samples, SampleStream."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtc.capture import open_capture
from mtc.errors import CaptureError, UsageError
from mtc.flows import FlowTable, SampleStream, iter_samples, read_samples, summarize
from mtc.flows.stream import PIECE

HEADERS = {
    "packet": np.int64,
    "timestamp": np.int64,
    "flow": np.int64,
    "ip_version": np.uint8,
    "protocol": np.uint8,
    "src_port": np.uint16,
    "dst_port": np.uint16,
    "ip_length": np.int32,
    "ttl": np.uint8,
    "caplen": np.int64,
    "wirelen": np.int64,
    "payload_length": np.int64,
}


def write_pcap(path: Path, frames: list[bytes], *, link_type: int = 101, cut: int = 0) -> Path:
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)]
    for k, frame in enumerate(frames):
        parts += [struct.pack("<IIII", 1000 + k, 7, len(frame), len(frame) + 10), frame]
    data = b"".join(parts)
    path.write_bytes(data[: len(data) - cut])
    return path


@pytest.fixture
def capture(tmp_path: Path, build: Any) -> Path:
    frames = [
        build.ip4(build.tcp(b"hello"), 6),
        build.ip4(build.tcp(), 6),
        build.ip4(build.udp(b"query", dport=53), 17),
        build.ip6(build.udp(b"voice"), 17),
    ]
    return write_pcap(tmp_path / "a.pcap", frames * 10)


def test_read_samples(capture: Path) -> None:
    r = read_samples(capture)
    assert r.samples.shape == (20, 1500)
    assert r.samples.flags.c_contiguous
    assert r.packets == 40 == len(r) + sum(r.left_out.values())
    assert r.left_out == {"no_payload": 10, "dns": 10}
    assert r.damage is None
    assert {name: column.dtype for name, column in r.headers.items()} == HEADERS
    assert r.headers["packet"][:3].tolist() == [1, 4, 5]
    assert r.headers["timestamp"][:2].tolist() == [1000_000_007_000, 1003_000_007_000]
    assert r.headers["flow"][:3].tolist() == [0, 2, 0]
    assert r.headers["ip_version"][:2].tolist() == [4, 6]
    assert r.headers["ip_length"][:2].tolist() == [45, 53]
    assert r.headers["ttl"][:2].tolist() == [61, 62]
    assert (r.headers["wirelen"] - r.headers["caplen"]).tolist() == [10] * 20
    assert r.headers["payload_length"].tolist() == [5] * 20
    assert r.samples[1, 60:65].tobytes() == b"voice"
    assert len(r.flows) == 3


def test_masks_hide_more_or_less(capture: Path) -> None:
    paper, strict = read_samples(capture), read_samples(capture, mask="strict")
    assert paper.samples[0, 20:24].any()
    assert not strict.samples[0, 20:24].any()
    assert np.array_equal(paper.samples[:, 60:], strict.samples[:, 60:])
    with pytest.raises(UsageError, match="mask must be"):
        read_samples(capture, mask="x")  # type: ignore[arg-type]


def test_iterating_gives_the_same_as_reading(tmp_path: Path, build: Any) -> None:
    kinds = [build.ip4(build.udp(bytes([k % 251 + 1]) * (3 * k), 7000 + k), 17) for k in range(97)]
    frames = [kinds[k * 31 % 97] for k in range(2 * PIECE)]
    path = write_pcap(tmp_path / "long.pcap", frames)
    whole = read_samples(path)
    samples, packets, pieces = [], 0, 0
    for piece in iter_samples(path):
        samples.append(piece.samples.copy())
        packets += piece.packets
        pieces += 1
        assert len(piece.samples) <= PIECE
    assert pieces >= 2
    assert packets == whole.packets == len(frames)
    assert np.array_equal(np.concatenate(samples), whole.samples)


@pytest.mark.parametrize("batch_bytes", [1, 100, 1000, 1 << 20])
def test_the_size_of_batches_does_not_matter(capture: Path, batch_bytes: int) -> None:
    whole = read_samples(capture)
    with SampleStream(open_capture(capture, batch_bytes=batch_bytes)) as stream:
        pieces = [(piece.samples.copy(), piece.headers) for piece in stream]
        assert stream.packets == whole.packets
        assert stream.left_out == whole.left_out
    assert np.array_equal(np.concatenate([samples for samples, _ in pieces]), whole.samples)
    for name, column in whole.headers.items():
        assert np.array_equal(np.concatenate([headers[name] for _, headers in pieces]), column)


def test_a_folder_and_one_table_over_captures(capture: Path) -> None:
    (capture.parent / "notes.txt").write_text("no capture")
    write_pcap(capture.with_name("b.pcap"), [])
    capture.with_name("c.pcap").write_bytes(capture.read_bytes())
    both = read_samples(capture.parent)
    assert both.packets == 80
    assert len(both.flows) == 3
    flows = FlowTable()
    for index in range(2):
        with SampleStream(capture, flows=flows, capture_index=index) as stream:
            for _ in stream:
                pass
    assert len(flows) == 3
    assert flows.records().packets.sum() == 80


def test_nothing_to_read(tmp_path: Path) -> None:
    empty = read_samples(write_pcap(tmp_path / "none.pcap", []))
    assert (len(empty), empty.packets, empty.left_out) == (0, 0, {})
    assert {name: column.dtype for name, column in empty.headers.items()} == HEADERS
    with pytest.raises(CaptureError, match="missing"):
        read_samples(tmp_path / "missing.pcap")


def test_damage_is_told_and_what_stands_before_it_used(tmp_path: Path, build: Any) -> None:
    path = write_pcap(tmp_path / "cut.pcap", [build.ip4(build.udp(b"voice"), 17)] * 3, cut=4)
    r = read_samples(path)
    assert (len(r), r.packets) == (2, 2)
    assert r.damage is not None
    assert "byte" in str(r.damage)
    *_, last = iter_samples(path)
    assert last.damage == r.damage


def test_summaries_count_what_streams_do(capture: Path) -> None:
    from mtc.capture import expand_inputs

    (source,) = expand_inputs([capture])
    summary = summarize(source)
    found = summary.to_dict()
    tree = found.pop("protocols")
    assert (found.pop("start").ns, found.pop("end").ns) == (summary.start, summary.end)
    assert found == {
        "file": str(capture),
        "format": "pcap",
        "link_types": [101],
        "packets": 40,
        "samples": 20,
        "left_out": {"no_payload": 10, "dns": 10},
        "flows": 3,
        "damage": None,
        "cut_samples": 20,
        "duplicates": 0,
        "out_of_order": 0,
    }
    assert summary.cut == 40
    transports = {(ip["name"], one["name"]): one["packets"] for ip in tree for one in ip["carries"]}
    assert transports == {("ipv4", "tcp"): 20, ("ipv4", "udp"): 10, ("ipv6", "udp"): 10}
