"""The first step of a build: one capture read once, its possible rows put aside on disk.

Each capture is staged by itself, whatever came before it, so captures may be read in any order.
Memory is bounded by a batch of packets, the draws of one capture's cap, and its flow table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.capture import Source
from mtc.datasets import ragged
from mtc.datasets.balance import SmallestDraws
from mtc.datasets.draws import keyed_draws
from mtc.datasets.rules import NO_LABEL, Rule, first_match
from mtc.packets import FlowRecords, Samples, SampleStream

Progress = Callable[[str, int], None]
"""Told the capture being read, and the bytes of it that were read since the last call."""

STAGED = pa.schema(
    [
        ("sample", pa.binary()),
        ("time", pa.int64()),
        ("packet", pa.int64()),
        ("flow", pa.int32()),
        ("rule", pa.int16()),
        ("draw", pa.uint64()),
        ("digest", pa.uint64()),
    ]
)
"""Columns of a staged capture; ``flow`` counts within the capture, ``rule`` is one of its rules."""

_BATCH_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class LabelledCapture:
    """A capture to be read, and what is known of it."""

    name: str
    """Its name in the dataset, unique."""
    file: str
    """Its file, as reports call it."""
    source: Source
    rules: tuple[Rule, ...]
    """Labels; where there are several, the first that chooses a packet labels it."""

    @property
    def whole(self) -> bool:
        """Whether all packets of the capture are labelled alike."""
        return len(self.rules) == 1 and self.rules[0].filter is None


@dataclass(frozen=True, slots=True)
class StagedCapture:
    """What was read of a capture.

    Attributes:
        format: ``pcap``, ``pcapng`` or another reader's name.
        link_types: LINKTYPE numbers by first appearance.
        packets: Packets read; the samples and what ``left_out`` sums up to.
        samples: Packets that the filter let through, staged or not.
        left_out: Reason -> packets.
        damage: Why reading ended early, or None.
        rules: Packets and samples of each rule.
        flow_keys: uint64 (flows, 6), the same for both directions and for every capture.
    """

    format: str
    link_types: tuple[int, ...]
    packets: int
    samples: int
    left_out: dict[str, int]
    damage: str | None
    rules: tuple[tuple[int, int], ...]
    flow_keys: NDArray[np.uint64]


def draw_purpose(capture: str) -> str:
    """What the draws of the packets of a capture are for; the packet's number in it is the key."""
    return f"balance\0{capture}"


def stage_capture(
    capture: LabelledCapture,
    file: Path,
    *,
    seed: int,
    limits: Sequence[int | None],
    decapsulate: bool,
    progress: Progress | None = None,
) -> StagedCapture:
    """Read a capture and put aside every sample that the balance may keep.

    Args:
        capture: What to read.
        file: Arrow file to write; columns as in ``STAGED``.
        seed: Seed of the draws that the balance chooses by.
        limits: Most samples that the balance may keep of each rule, or None for all.
        decapsulate: Whether tunnels are peeled.
        progress: Told about the bytes read.

    Raises:
        CaptureError: Nothing can be read of the capture.
    """
    smallest = [None if limit is None else SmallestDraws(limit) for limit in limits]
    counts = np.zeros((len(capture.rules), 2), np.int64)
    unlabelled = seen = 0
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        SampleStream(capture.source, decapsulate=decapsulate) as stream,
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_file(sink, STAGED, options=options) as writer,
    ):
        for piece in stream:
            draws = keyed_draws(seed, draw_purpose(capture.name), piece.headers["packet"])
            assert stream.batch is not None
            assert stream.batch_headers is not None
            of_packet = first_match(capture.rules, stream.batch_headers, stream.batch.timestamps)
            rule = of_packet[stream.batch_headers.sample_rows()][: len(piece)]
            kept = np.zeros(len(rule), np.bool_)
            for i, draws_of_rule in enumerate(smallest):
                mine = rule == i
                kept[mine] = True if draws_of_rule is None else draws_of_rule.offer(draws[mine])
                counts[i] += np.count_nonzero(of_packet == i), np.count_nonzero(mine)
            unlabelled += int(np.count_nonzero(rule < 0))
            rows = np.flatnonzero(kept)
            if len(rows):
                writer.write_batch(_staged_rows(piece, rows, draws, rule))
            if progress is not None and stream.reader.bytes_read > seen:
                progress(capture.name, stream.reader.bytes_read - seen)
                seen = stream.reader.bytes_read
        left_out = dict(stream.left_out) | ({NO_LABEL: unlabelled} if unlabelled else {})
        return StagedCapture(
            format=stream.reader.format,
            link_types=tuple(int(link_type) for link_type in stream.reader.link_types),
            packets=stream.packets,
            samples=int(counts[:, 1].sum()),
            left_out=dict(sorted(left_out.items())),
            damage=None if stream.damage is None else str(stream.damage),
            rules=tuple((packets, samples) for packets, samples in counts.tolist()),
            flow_keys=_flow_keys(stream.flows.records()),
        )


def _staged_rows(
    piece: Samples, rows: NDArray[np.int64], draws: NDArray[np.uint64], rule: NDArray[np.int16]
) -> Any:
    samples = piece.samples if len(rows) == len(piece) else piece.samples[rows]
    data, offsets, digests = ragged.trim(samples)
    columns = [
        binary_array(data, offsets),
        piece.headers["timestamp"][rows],
        piece.headers["packet"][rows],
        piece.headers["flow"][rows].astype(np.int32),
        rule[rows],
        draws[rows],
        digests,
    ]
    return pa.record_batch([pa.array(column) for column in columns], schema=STAGED)


def binary_array(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Any:
    """A ``pyarrow.BinaryArray`` of ragged samples, which together hold less than 2 GiB."""
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _flow_keys(records: FlowRecords) -> NDArray[np.uint64]:
    """The five-tuples of flows, the lower endpoint first, so that direction does not matter."""
    one, other = (
        np.column_stack([address, port.astype(np.uint64)])
        for address, port in ((records.src, records.src_port), (records.dst, records.dst_port))
    )
    swap = np.zeros(len(records), np.bool_)
    decided = np.zeros(len(records), np.bool_)
    for column in range(one.shape[1]):
        differ = ~decided & (one[:, column] != other[:, column])
        swap |= differ & (one[:, column] > other[:, column])
        decided |= differ
    low = np.where(swap[:, None], other, one)
    high = np.where(swap[:, None], one, other)
    kind = records.ip_version.astype(np.uint64) << np.uint64(8) | records.protocol
    ports = low[:, 2] << np.uint64(16) | high[:, 2]
    return np.column_stack([kind, ports, low[:, :2], high[:, :2]])
