"""Arbitrary bytes: no exception, no read outside the captured bytes, every packet counted."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtc.capture import PacketBatch
from mtc.flows import FlowTable
from mtc.packets import REASONS, build_samples, decode, mask_samples

Maker = Callable[..., PacketBatch]

LINK_TYPES = [0, 1, 8, 9, 10, 12, 14, 50, 51, 100, 101, 104, 105, 107, 108, 109, 113, 117, 119, 127]
LINK_TYPES += [138, 163, 166, 192, 204, 219, 228, 229, 239, 240, 276, 147, 65535]

relaxed = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


def assert_sound(make_batch: Maker, frames: list[bytes], link_types: list[int], decapsulate: bool) -> None:
    """Bytes around the packets must not matter, and all places must lie inside them."""
    results = []
    for poison in (0x00, 0x45, 0xFF):
        batch = make_batch(frames, link_types, poison=poison)
        h = decode(batch, decapsulate=decapsulate)
        rows = h.sample_rows()
        samples = build_samples(batch, h, rows)
        flows = FlowTable().update(h, batch)
        results.append([getattr(h, name) for name in h.__slots__] + [samples, flows])
        assert h.reason.max(initial=0) < len(REASONS)
        assert len(rows) + sum(h.left_out().values()) == len(frames)
        end = batch.offsets + batch.caplens
        known = h.ip_version > 0
        assert (h.ip_offset[known] >= batch.offsets[known]).all()
        assert (h.ip_offset[known] + 20 <= end[known]).all()
        assert (h.transport_offset[rows] > h.ip_offset[rows]).all()
        assert (h.payload_offset[rows] > h.transport_offset[rows]).all()
        assert (h.payload_offset[rows] + h.captured_payload[rows] <= end[rows]).all()
        assert (h.captured_payload[rows] >= 1).all()
        assert (h.captured_payload <= h.payload_length).all()
        assert ((flows >= 0) == h.is_transport).all()
        mask_samples(samples, "strict")
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert np.array_equal(one, two)


@relaxed
@given(st.lists(st.tuples(st.sampled_from(LINK_TYPES), st.binary(max_size=300)), max_size=8), st.booleans())
def test_arbitrary_bytes(make_batch: Maker, packets: list[tuple[int, bytes]], decapsulate: bool) -> None:
    assert_sound(make_batch, [frame for _, frame in packets], [kind for kind, _ in packets], decapsulate)


def nested(build: Any) -> list[tuple[int, bytes]]:
    """Valid packets that lead deep into the kernels."""
    tcp, udp = build.ip4(build.tcp(b"hello"), 6), build.ip6(build.udp(b"hello" * 9), 17)
    macs = bytes(12)
    bodies = [
        (4789, b"\x08" + bytes(7) + build.ether(tcp)),
        (6081, b"\2\0\x65\x58" + bytes(12) + build.ether(udp)),
        (2152, b"\x34\xff" + bytes(6) + b"\0\0\0\x85\1\0\0\0" + tcp),
        (3544, bytes(8) + udp),
        (1701, b"\x4a\2\0\x40" + bytes(8) + b"\0\2\0\0\0\x21" + tcp),
        (1701, b"\0\3" + bytes(6) + bytes(4) + build.ether(udp)),
    ]
    packets = [(101, build.ip4(build.udp(body, dport=port), 17)) for port, body in bodies]
    gre = b"\xb0\0\x88\xbe" + bytes(12) + bytes(8) + build.ether(tcp)
    extension = bytes([44, 0]) + bytes(6) + bytes([51, 0]) + bytes(6) + bytes([6, 1]) + bytes(10)
    packets += [
        (101, build.ip6(gre, 47)),
        (101, build.ip6(build.tcp(b"x"), 0, extension=extension)),
        (101, build.ip4(build.ip4(build.ip6(tcp, 4), 41), 4)),
        (1, macs + b"\x88\xa8\0\1\x88\x64\x11\0\0\1\0\x40\x02\x81" + bytes([0, 0, 1, 9]) + tcp),
        (
            127,
            b"\0\0\x19\0\x03\0\0\x80" + bytes(17) + b"\x88\3" + bytes(30) + b"\xaa\xaa\3\0\0\0\x08\0" + tcp,
        ),
        (239, b"\2\0\0\0\5\0\x0a\0p" + bytes(3) + b"\x34\0\x09\0" + tcp),
        (107, b"\x18\x41\3\0\x80\0\0\0\x08\0" + tcp),
        (192, b"\0\0\x08\0\x69\0\0\0\x08\1" + bytes(22) + b"\xaa\xaa\3\0\0\0\x86\xdd" + udp),
    ]
    return packets


@relaxed
@given(st.data())
def test_cut_and_flipped_packets(make_batch: Maker, build: Any, data: st.DataObject) -> None:
    link_type, frame = data.draw(st.sampled_from(nested(build)))
    frame = frame[: data.draw(st.integers(0, len(frame)))]
    changed = bytearray(frame)
    for _ in range(data.draw(st.integers(0, 4)) if changed else 0):
        at = data.draw(st.integers(0, min(len(changed), 120) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    assert_sound(make_batch, [bytes(changed)], [link_type], data.draw(st.booleans()))


def test_every_cut_of_every_nested_packet(make_batch: Maker, build: Any) -> None:
    for link_type, frame in nested(build):
        cuts = [frame[:n] for n in range(len(frame) + 1)]
        assert_sound(make_batch, cuts, [link_type] * len(cuts), decapsulate=True)
        h = decode(make_batch([frame], link_type))
        assert REASONS[h.reason[0]] == "", frame.hex()
