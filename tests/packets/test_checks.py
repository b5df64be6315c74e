"""Cut samples, copies of packets and times out of order are counted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtc.capture import PacketBatch
from mtc.packets import decode
from mtc.packets.checks import WINDOW, CaptureChecks, CheckCounts

Maker = Callable[..., PacketBatch]
MACS = bytes(range(12))


def count(batch: PacketBatch) -> tuple[CheckCounts, list[int]]:
    checks = CaptureChecks()
    copies = checks.add(batch, decode(batch))
    return checks.counts, np.flatnonzero(copies).tolist()


def test_copies_of_a_mirrored_port(make_batch: Maker, build: Any) -> None:
    one, two = (build.ip4(build.udp(payload), 17) for payload in (b"first", b"other"))
    routed = bytearray(one)
    routed[8] -= 1  # time to live, and so the checksum
    routed[10:12] = b"\x12\x34"
    frames = [
        MACS + b"\x08\0" + one,
        MACS + b"\x81\0\0\5\x08\0" + one,  # the same in a VLAN
        MACS + b"\x08\0" + two,
        MACS[::-1] + b"\x08\0" + bytes(routed),
        MACS + b"\x08\6" + bytes(28),
        MACS + b"\x08\6" + bytes(28),
    ]
    counts, copies = count(make_batch(frames))
    assert copies == [1, 3, 5]
    assert counts.duplicates == 3
    assert "3 of 6 packets are copies" in counts.notes(6, 4)[0]


def test_acknowledgements_without_an_id_are_no_copies(make_batch: Maker, build: Any) -> None:
    bare = build.ip4(build.tcp(b""), 6)
    bare = bare[:4] + b"\0\0" + bare[6:]
    assert count(make_batch([bare, bare], 101))[1] == []
    marked = bare[:4] + b"\0\7" + bare[6:]
    assert count(make_batch([marked, marked], 101))[1] == [1]


def test_a_copy_comes_soon(make_batch: Maker, build: Any) -> None:
    packet = build.ip4(build.udp(b"again"), 17)
    batch = make_batch([packet] * 3, 101)
    later = replace(batch, timestamps=np.array([0, 40_000_000, 200_000_000]) + 10**18)
    assert count(later)[1] == [1]
    others = [build.ip4(build.udp(b"%5d" % i), 17) for i in range(WINDOW)]
    assert count(make_batch([packet, *others, packet], 101))[1] == []


def test_batches_do_not_matter(make_batch: Maker, build: Any) -> None:
    packets = [build.ip4(build.udp(b"%5d" % (i // 2)), 17) for i in range(30)]
    batch = make_batch(packets, 101)
    times = np.arange(30) * 1000 + 10**18
    times[7:9] -= 10_000
    batch = replace(batch, timestamps=times, wirelens=batch.wirelens + (np.arange(30) % 3 == 0))
    whole, copies = count(batch)
    checks = CaptureChecks()
    parts = [batch.part(begin, begin + 4) for begin in range(0, 30, 4)]
    found = np.concatenate([checks.add(part, decode(part)) for part in parts])
    assert checks.counts == whole == CheckCounts(cut_samples=10, duplicates=15, out_of_order=2)
    assert np.flatnonzero(found).tolist() == copies == list(range(1, 30, 2))
    assert whole + whole == CheckCounts(20, 30, 4)


@given(st.lists(st.binary(max_size=80), max_size=20), st.sampled_from([1, 101, 113, 105]))
def test_any_bytes(frames: list[bytes], link_type: int) -> None:
    data = np.frombuffer(b"".join(frames), np.uint8)
    sizes = np.array([len(frame) for frame in frames], np.int64)
    batch = PacketBatch(
        data=data,
        offsets=np.cumsum(sizes) - sizes,
        caplens=sizes,
        wirelens=sizes,
        timestamps=np.zeros(len(frames), np.int64),
        link_types=np.full(len(frames), link_type, np.int32),
        first_packet=1,
    )
    counts, copies = count(batch)
    assert counts.duplicates == len(copies) <= max(len(frames) - 1, 0)
