from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mtc.errors import UsageError
from mtc.flows import SampleStream
from mtc.packets import REASONS, Selection, Selector, time_ns


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("1795414636.715719123", 1_795_414_636_715_719_123),
        ("-1.5", -1_500_000_000),
        (1000.25, 1_000_250_000_000),
        (3, 3_000_000_000),
        ("1970-01-01T00:00:01", 1_000_000_000),
        ("1970-01-02", 86_400_000_000_000),
        ("1970-01-01T01:00:00.000001+01:00", 1000),
        ("1970-01-01T00:00:00Z", 0),
        (datetime(1970, 1, 1, 0, 0, 2), 2_000_000_000),
        (datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC), 2_000_000_000),
    ],
)
def test_times(value: object, expected: int) -> None:
    assert time_ns(value) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["yesterday", "", "2026-13-01", "9999999999", float("nan"), float("inf"), "1e9"]
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        time_ns(value)  # type: ignore[arg-type]


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="ends before it begins"):
        Selection.of(start="5", end="5")


def _read(path: Path, selection: Selection) -> tuple[SampleStream, list[int]]:
    numbers: list[int] = []
    with SampleStream(path, selection=selection) as stream:
        for piece in stream:
            numbers += piece.headers["packet"].tolist()
    return stream, numbers


def test_a_window_takes_its_begin_and_not_its_end(short_capture: Path) -> None:
    whole, numbers = _read(short_capture, Selection())
    with SampleStream(short_capture) as stream:
        times = np.concatenate([stream.batch.timestamps for _ in stream])  # type: ignore[union-attr]
    middle, last = int(np.sort(times)[len(times) // 3]), int(times.max())
    part, found = _read(short_capture, Selection(start_ns=middle, end_ns=last))
    inside = np.flatnonzero((times >= middle) & (times < last)) + 1
    assert found == [number for number in numbers if number in inside]
    assert 0 < len(found) < len(numbers)
    assert part.packets == whole.packets == len(found) + sum(part.left_out.values())
    assert part.left_out["outside_window"] == len(times) - len(inside)
    assert len(part.flows.records()) <= len(whole.flows.records())


def test_filtered_packets_are_counted_and_join_no_flow(short_capture: Path) -> None:
    pytest.importorskip("pcapy", reason="filters need pcapy-ng, which is not installed")
    whole, _ = _read(short_capture, Selection())
    udp, _ = _read(short_capture, Selection(bpf="udp"))
    records, kept = whole.flows.records(), udp.flows.records()
    assert (kept.protocol == 17).all()
    assert len(kept) == int((records.protocol == 17).sum())
    assert udp.packets == whole.packets
    assert udp.left_out["filtered"] == int(records.packets[records.protocol == 6].sum())


def test_a_filter_that_means_nothing_on_a_link_passes_nothing(shared_data: Path) -> None:
    pytest.importorskip("pcapy", reason="filters need pcapy-ng, which is not installed")
    raw = next(iter(sorted((shared_data / "iscx-mini").glob("vpn_aim*.pcap"))))
    stream, numbers = _read(raw, Selection(bpf="ether host 02:00:00:00:00:01"))
    assert numbers == []
    assert stream.left_out == {"filtered": stream.packets}


def test_a_wrong_filter_is_refused_before_anything_is_read() -> None:
    pytest.importorskip("pcapy", reason="filters need pcapy-ng, which is not installed")
    with pytest.raises(UsageError, match="tcp prt"):
        Selector(Selection(bpf="tcp prt 443"))


def test_the_reasons_have_names() -> None:
    assert {"filtered", "outside_window"} <= {*REASONS}
