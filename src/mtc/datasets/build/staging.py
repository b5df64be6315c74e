"""The first step of a build: one capture read once, its possible rows put aside on disk.

Each capture is staged by itself, whatever came before it, so captures may be read in any order.
Memory is bounded by a batch of packets, the rows that wait to be written, the draws of one capture's
cap, and its flow table.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.capture import PacketBatch, Source
from mtc.datasets import ragged
from mtc.datasets.arrow import binary_array, plain_array
from mtc.datasets.build.balance import EVERY, SmallestDraws
from mtc.datasets.ragged import keyed_draws
from mtc.datasets.build.rules import NO_LABEL, Rule, first_match
from mtc.flows import FlowRecords, SampleStream
from mtc.flows.sequences import ROW_BYTES, SequenceTable, sequence_packets
from mtc.packets import Headers, build_samples

Progress = Callable[[str, int], None]
"""Called with the capture being read, and the bytes read of it since the last call."""

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

RowKind = Literal["packets", "flows"]
"""What a row of a dataset is: a packet's sample, or the sequence of a flow's first packets."""

_ROWS_AT_ONCE = 4_096
_BYTES_WAITING = 48 << 20
"""Most bytes of samples that wait, since those that follow may show that the balance does not keep them."""


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
    scope: str = ""
    """Captures of one scope share flows; the same five-tuple in captures of two scopes is two flows."""

    @property
    def whole(self) -> bool:
        """Whether all packets of the capture are labelled alike."""
        return len(self.rules) == 1 and self.rules[0].filter is None


@dataclass(frozen=True, slots=True)
class StagedCapture:
    """Staged rows of a capture.

    Attributes:
        format: ``pcap``, ``pcapng`` or another reader's name.
        link_types: LINKTYPE numbers by first appearance.
        packets: Packets read; the samples and what ``left_out`` sums up to.
        samples: Packets that the filter let through, staged or not.
        left_out: Reason -> packets.
        damage: Why reading ended early, or None.
        rules: Packets and samples of each rule.
        flows: Biflows of all packets.
    """

    format: str
    link_types: tuple[int, ...]
    packets: int
    samples: int
    left_out: dict[str, int]
    damage: str | None
    rules: tuple[tuple[int, int], ...]
    flows: int


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
    kind: RowKind = "packets",
    progress: Progress | None = None,
) -> tuple[StagedCapture, NDArray[np.uint64]]:
    """Read a capture and put aside every sample that the balance may keep.

    Args:
        capture: What to read.
        file: Arrow file to write; columns as in ``STAGED``.
        seed: Seed of the draws that the balance chooses by.
        limits: Most samples that the balance may keep of each rule, or None for all.
        decapsulate: Whether tunnels are peeled.
        kind: What a row is.
        progress: Called with the bytes read.

    Returns:
        What was read; and its five-tuples, uint64 (flows, 6), by first packet, the same for both
        directions and in every capture.

    Raises:
        CaptureError: Nothing can be read of the capture.
    """
    choice = _Choice(capture.rules, limits)
    purpose = draw_purpose(capture.name)
    seen = 0
    with (
        SampleStream(capture.source, decapsulate=decapsulate, build=False) as stream,
        _RowWriter(file, choice) as writer,
    ):
        staged = (_FlowRows if kind == "flows" else _PacketRows)(choice, writer)
        for piece in stream:
            batch, headers = stream.batch, stream.batch_headers
            assert batch is not None
            assert headers is not None
            draws = keyed_draws(seed, purpose, piece.headers["packet"])
            of_packet = first_match(capture.rules, headers, batch.timestamps)
            staged.add(batch, headers, piece.headers, of_packet, draws)
            if progress is not None and stream.reader.bytes_read > seen:
                progress(capture.name, stream.reader.bytes_read - seen)
                seen = stream.reader.bytes_read
        staged.finish()
    left_out = dict(stream.left_out) | ({NO_LABEL: choice.unlabelled} if choice.unlabelled else {})
    read = StagedCapture(
        format=stream.reader.format,
        link_types=tuple(int(link_type) for link_type in stream.reader.link_types),
        packets=stream.packets,
        samples=int(choice.counts[:, 1].sum()),
        left_out=dict(sorted(left_out.items())),
        damage=None if stream.damage is None else str(stream.damage),
        rules=tuple((packets, samples) for packets, samples in choice.counts.tolist()),
        flows=len(stream.flows),
    )
    keys = _flow_keys(stream.flows.records())
    if capture.scope:
        # Five-tuples are compared over all captures: what differs by scope makes them differ.
        keys[:, 0] ^= keyed_draws(0, f"scope\0{capture.scope}", np.zeros(1, np.int64)) << np.uint64(16)
    return read, keys


class _PacketRows:
    """The samples of a capture as rows."""

    def __init__(self, choice: "_Choice", writer: "_RowWriter") -> None:
        self._choice, self._writer = choice, writer

    def add(
        self,
        batch: PacketBatch,
        headers: Headers,
        columns: Mapping[str, NDArray[Any]],
        of_packet: NDArray[np.int16],
        draws: NDArray[np.uint64],
    ) -> None:
        """Write the samples of a batch that the balance may keep.

        Args:
            batch, headers: The packets.
            columns: Header columns of the batch's samples.
            of_packet: int16, the rule of each packet, -1 for none.
            draws: uint64, the draw of each sample.
        """
        rows = headers.sample_rows()
        rule = of_packet[rows]
        kept = self._choice.take(of_packet, rule, draws)
        if len(kept):
            found = {name: columns[name][kept] for name in ("timestamp", "packet", "flow")}
            samples = build_samples(batch, headers, rows[kept], self._writer.buffer(len(kept)))
            self._writer.write(samples, found, rule[kept], draws[kept])

    def finish(self) -> None:
        """Everything is written."""


class _FlowRows:
    """The flows of a capture as rows; a flow has the label, the time and the draw of its first sample."""

    def __init__(self, choice: "_Choice", writer: "_RowWriter") -> None:
        self._choice, self._writer = choice, writer
        self._table = SequenceTable()
        self._columns: dict[str, NDArray[Any]] = {
            name: np.zeros(0, kind)
            for name, kind in (
                ("timestamp", np.int64), ("packet", np.int64), ("rule", np.int16), ("draw", np.uint64)
            )
        }  # fmt: skip

    def add(
        self,
        batch: PacketBatch,
        headers: Headers,
        columns: Mapping[str, NDArray[Any]],
        of_packet: NDArray[np.int16],
        draws: NDArray[np.uint64],
    ) -> None:
        """Add the samples of a batch to their flows; arguments as of ``_PacketRows.add``."""
        rows = headers.sample_rows()
        rule = of_packet[rows]
        self._choice.count(of_packet, rule)
        if not len(rows):
            return
        flow = columns["flow"]
        self._table.grow(int(flow.max()) + 1)
        flows, first = np.unique(flow, return_index=True)
        new = self._table.counts(flows) == 0
        values = {"timestamp": columns["timestamp"], "packet": columns["packet"], "rule": rule, "draw": draws}
        for name, column in self._columns.items():
            grown = np.zeros(len(self._table), column.dtype)
            grown[: len(column)] = column
            grown[flows[new]] = values[name][first[new]]
            self._columns[name] = grown
        self._table.add(sequence_packets(batch, headers, rows), flow)

    def finish(self) -> None:
        """Write the flows that have a label and that the balance may keep, by first sample."""
        columns = self._columns
        flows = np.flatnonzero(self._table.counts(np.arange(len(self._table))))
        flows = flows[columns["rule"][flows] >= 0]
        flows = flows[np.argsort(columns["packet"][flows], kind="stable")]
        flows = flows[self._choice.offer(columns["rule"][flows], columns["draw"][flows])]
        for begin in range(0, len(flows), _ROWS_AT_ONCE):
            some = flows[begin : begin + _ROWS_AT_ONCE]
            rows = np.zeros((len(some), ragged.WIDTH), np.uint8)
            rows[:, :ROW_BYTES] = self._table.sequences(some)
            of_flow = {name: columns[name][some] for name in ("timestamp", "packet")}
            self._writer.write(rows, of_flow | {"flow": some}, columns["rule"][some], columns["draw"][some])


class _Choice:
    """Chooses the samples that the balance may keep, and counts packets by rule."""

    def __init__(self, rules: Sequence[Rule], limits: Sequence[int | None]) -> None:
        self.counts = np.zeros((len(rules), 2), np.int64)
        """Packets and samples of each rule."""
        self.unlabelled = 0
        """Samples that no rule labels."""
        self._smallest = [None if limit is None else SmallestDraws(limit) for limit in limits]

    @property
    def limited(self) -> bool:
        """Whether there is a rule of which the balance may keep only some samples."""
        return any(smallest is not None for smallest in self._smallest)

    def bars(self) -> NDArray[np.uint64]:
        """uint64 (rules,), the draw up to which the balance may keep samples, by all draws so far."""
        bars = [EVERY if s is None else s.threshold(s.limit) for s in self._smallest]
        return np.array(bars, np.uint64)

    def take(
        self, of_packet: NDArray[np.int16], rule: NDArray[np.int16], draws: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """The samples to put aside, by the rules of all packets, and rule and draw of each sample."""
        self.count(of_packet, rule)
        return np.flatnonzero(self.offer(rule, draws))

    def count(self, of_packet: NDArray[np.int16], rule: NDArray[np.int16]) -> None:
        """Count packets, and the samples among them, by rule."""
        for i in range(len(self.counts)):
            self.counts[i] += np.count_nonzero(of_packet == i), np.count_nonzero(rule == i)
        self.unlabelled += int(np.count_nonzero(rule < 0))

    def offer(self, rule: NDArray[np.int16], draws: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """bool (N,), which rows the balance may keep, by rule and draw of each."""
        kept = np.zeros(len(rule), np.bool_)
        for i, smallest in enumerate(self._smallest):
            mine = rule == i
            kept[mine] = True if smallest is None else smallest.offer(draws[mine])
        return kept


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows to be written, by the columns of ``STAGED``; ``data`` and ``offsets`` are their samples."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    time: NDArray[np.int64]
    packet: NDArray[np.int64]
    flow: NDArray[np.int32]
    rule: NDArray[np.int16]
    draws: NDArray[np.uint64]
    digests: NDArray[np.uint64]

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        return self.time, self.packet, self.flow, self.rule, self.draws, self.digests

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: NDArray[np.int64]) -> "_Rows":
        if len(rows) == len(self):
            return self
        data, offsets = ragged.gather(self.data, self.offsets, rows)
        return _Rows(data, offsets, *(column[rows] for column in self.columns))

    def batch(self) -> Any:
        arrays = [binary_array(self.data, self.offsets), *map(plain_array, self.columns)]
        return pa.record_batch(arrays, schema=STAGED)


class _RowWriter:
    """Writes staged rows, many at a time; a context manager."""

    def __init__(self, file: Path, choice: _Choice) -> None:
        self._resources = ExitStack()
        sink = self._resources.enter_context(pa.OSFile(str(file), "wb"))
        self._writer = self._resources.enter_context(pa.ipc.new_file(sink, STAGED))
        self._choice = choice
        self._most = _BYTES_WAITING if choice.limited else 0
        self._buffer = np.empty((0, ragged.WIDTH), np.uint8)
        self._waiting: list[_Rows] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self._thin_out()
            self._write(self._waiting)
        self._resources.close()

    def buffer(self, rows: int) -> NDArray[np.uint8]:
        """uint8 (at least ``rows``, 1500), to build samples in."""
        if len(self._buffer) < rows:
            self._buffer = np.empty((max(rows, 2 * len(self._buffer)), ragged.WIDTH), np.uint8)
        return self._buffer

    def write(
        self,
        samples: NDArray[np.uint8],
        columns: Mapping[str, NDArray[Any]],
        rule: NDArray[np.int16],
        draws: NDArray[np.uint64],
    ) -> None:
        """Take in samples, whose array may be used again, and columns of as many rows."""
        data, offsets, digests = ragged.trim(samples)
        time, packet, flow = columns["timestamp"], columns["packet"], columns["flow"].astype(np.int32)
        self._waiting.append(_Rows(data, offsets, time, packet, flow, rule, draws, digests))
        if self._bytes() > self._most and sum(map(len, self._waiting)) >= _ROWS_AT_ONCE:
            self._thin_out()
            if self._bytes() > self._most // 2:
                self._write(self._waiting)
                self._waiting = []

    def _bytes(self) -> int:
        return sum(len(rows.data) for rows in self._waiting)

    def _thin_out(self) -> None:
        if self._choice.limited:
            bars = self._choice.bars()
            self._waiting = [
                rows.take(np.flatnonzero(rows.draws <= bars[rows.rule])) for rows in self._waiting
            ]

    def _write(self, waiting: Sequence[_Rows]) -> None:
        """Write rows in batches of not too few."""
        batches: list[Any] = []
        for i, rows in enumerate(waiting):
            if len(rows):
                batches.append(rows.batch())
            if batches and (i + 1 == len(waiting) or sum(b.num_rows for b in batches) >= _ROWS_AT_ONCE):
                for batch in pa.Table.from_batches(batches).combine_chunks().to_batches():
                    self._writer.write_batch(batch)
                batches = []


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
