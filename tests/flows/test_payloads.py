"""The payload log against a slow reassembly: order, gaps, overlaps, retransmissions, tiny pieces, bounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtc.capture import PacketBatch
from mtc.flows import FlowTable
from mtc.flows.payloads import DATAGRAM_BYTES, DATAGRAMS, SEGMENTS, STREAM_BYTES, Opening, PayloadLog
from mtc.packets import decode

Maker = Callable[..., PacketBatch]


class Recorder:
    """Takes the place of what recognizes flows, to look at the openings."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.log = PayloadLog(limit)

    def collect(self, headers: Any, batch: Any, rows: Any, ways: Any, flows: Any) -> None:
        assert self.log.collect(headers, batch, rows, ways, flows) == len(rows)

    def move(self, kept: Any, size: int) -> None:
        self.log.move(kept, size)


def _openings(make_batch: Maker, frames: list[bytes], size: int = 1000) -> list[Opening]:
    recorder = Recorder()
    table = FlowTable(evidence=recorder)  # type: ignore[arg-type]
    for begin in range(0, len(frames), size):
        batch = make_batch(frames[begin : begin + size], 101)
        table.update(decode(batch), batch)
    return [opening for _, opening in recorder.log.openings(table._flows[: table.held])]


def _segment(build: Any, seq: int, payload: bytes, *, flags: int = 0x18) -> bytes:
    """A segment from 10.0.0.1:40000 to 10.0.0.2:443."""
    segment = bytearray(build.tcp(payload, 40_000, 443, flags=flags))
    segment[4:8] = (seq % (1 << 32)).to_bytes(4)
    return bytes(build.ip4(bytes(segment), 6))


STREAM = bytes(np.random.default_rng(3).integers(0, 256, 400, np.uint8))
cuts = st.lists(st.tuples(st.integers(0, 399), st.integers(1, 120)), min_size=1, max_size=30)


def _expected(pieces: list[tuple[int, int]]) -> bytes:
    have = {at for begin, length in pieces for at in range(begin, min(begin + length, len(STREAM)))}
    end = next(at for at in range(len(STREAM) + 1) if at not in have)
    return STREAM[:end]


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(cuts, st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_streams_are_put_in_order(
    make_batch: Maker, build: Any, pieces: list[tuple[int, int]], start: int, size: int
) -> None:
    """Pieces in any order, overlapping and repeated, with sequence numbers that run over."""
    frames = [_segment(build, start - 1, b"", flags=0x02)]
    frames += [_segment(build, start + begin, STREAM[begin : begin + length]) for begin, length in pieces]
    found = _openings(make_batch, frames, size)
    expected = _expected(pieces)
    assert [opening.opened for opening in found] == [(True, False)]
    assert b"".join(found[0].sides[0]) == expected


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_without_a_syn_the_earliest_piece_begins(
    make_batch: Maker, build: Any, order: list[int], start: int
) -> None:
    frames = [_segment(build, start + 60 * k, STREAM[60 * k : 60 * k + 60]) for k in order]
    (found,) = _openings(make_batch, frames)
    assert found.opened == (False, False)
    assert found.sides[0] == [STREAM[:360]]


def test_of_bytes_sent_twice_the_first_count(make_batch: Maker, build: Any) -> None:
    """Nobody can write over what was seen: neither with the same segment nor with a longer one."""
    frames = [
        _segment(build, 99, b"", flags=0x02),
        _segment(build, 100, b"first"),
        _segment(build, 100, b"other"),
        _segment(build, 102, b"xxxyz"),
    ]
    (found,) = _openings(make_batch, frames)
    assert found.sides[0] == [b"firstyz"]


def test_ten_thousand_tiny_fragments(make_batch: Maker, build: Any) -> None:
    frames = [_segment(build, 1, b"", flags=0x02)]
    frames += [_segment(build, 2 + k, bytes([k % 256])) for k in range(10_000)]
    (found,) = _openings(make_batch, frames)
    assert found.sides[0] == [bytes(k % 256 for k in range(SEGMENTS))]


def test_a_long_stream_is_cut(make_batch: Maker, build: Any) -> None:
    frames = [_segment(build, 1, b"", flags=0x02)]
    frames += [_segment(build, 2 + 1000 * k, bytes([k]) * 1000) for k in range(100)]
    (found,) = _openings(make_batch, frames)
    assert found.sides[0] == [b"".join(bytes([k]) * 1000 for k in range(9))[:STREAM_BYTES]]


def test_a_second_syn_of_another_stream(make_batch: Maker, build: Any) -> None:
    """The SYN seen was not the one that counts: the stream begins where its data does."""
    frames = [_segment(build, 5_000_000, b"", flags=0x02), _segment(build, 1_000, b"hello")]
    (found,) = _openings(make_batch, frames)
    assert (found.sides[0], found.opened) == ([b"hello"], (False, False))


def test_datagrams_keep_their_bounds(make_batch: Maker, build: Any) -> None:
    payloads = [bytes([k]) * (k + 1) for k in range(12)] + [b"z" * 3000]
    frames = [build.ip4(build.udp(payload), 17) for payload in payloads]
    (found,) = _openings(make_batch, frames, 5)
    assert found.sides == (payloads[:DATAGRAMS], [])
    (found,) = _openings(make_batch, frames[::-1])
    assert found.sides[0][0] == b"z" * DATAGRAM_BYTES


frames_of_anything = st.lists(st.binary(max_size=120), max_size=12)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(frames_of_anything, st.sampled_from([1, 101, 113]), st.integers(0, 255))
def test_any_bytes(make_batch: Maker, frames: list[bytes], link_type: int, head: int) -> None:
    """Headers of any kind, cut anywhere, through table, log, detectors and names."""
    from mtc.flows import EvidenceCollector

    ip = b"\x45\0\0\x78\0\0\0\0\x40" + (b"\x06" if head & 1 else b"\x11") + bytes(10)
    batch = make_batch([ip + frame if head & 2 else frame for frame in frames], link_type)
    table = FlowTable(evidence=EvidenceCollector(log_bytes=1 << 16))
    table.update(decode(batch), batch)
    said = table.records().evidence
    assert said is not None
    assert len(said) == table.held
