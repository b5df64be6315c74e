"""From a capture to samples, in bounded memory."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.flows.evidence import EvidenceCollector
from mtc.flows.records import FlowRecords
from mtc.flows.sequences import SequenceTable, sequence_packets
from mtc.flows.services import Services
from mtc.flows.table import FlowTable
from mtc.packets.checks import CaptureChecks
from mtc.packets.fields import SAMPLE_LENGTH, Mask, check_mask
from mtc.packets.headers import Headers, decode
from mtc.packets.samples import build_samples, mask_samples
from mtc.packets.selection import Selection, Selector

if TYPE_CHECKING:
    from mtc.capture import CaptureReader, Damage, Source

PIECE = 8192
"""Most packets handled at a time: their samples still fit into a processor's cache."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Packets that count, with what is known of them.

    Attributes:
        samples: uint8 (N, 1500), C-contiguous.
        headers: Columns of length N: ``packet`` (int64, number in its capture, from 1), ``timestamp``
            (int64 ns), ``flow`` (int64, from 0 by first packet; flows without samples count too),
            ``ip_version``, ``protocol``, ``ttl`` (uint8), ``src_port``, ``dst_port`` (uint16),
            ``ip_length`` (int32), ``caplen``, ``wirelen``, ``payload_length`` (int64).
        packets: Packets read, samples and left-out ones.
        left_out: Reason -> packets left out for it.
        damage: Where and why reading ended early, or None.
        flows: The table that the ids in ``headers["flow"]`` refer to.
    """

    samples: NDArray[np.uint8]
    headers: dict[str, NDArray[Any]]
    packets: int
    left_out: dict[str, int]
    damage: "Damage | None"
    flows: FlowTable

    def __len__(self) -> int:
        return len(self.samples)


class SampleRoom:
    """Memory that samples are built in, piece after piece; it grows up to ``PIECE`` rows."""

    def __init__(self) -> None:
        self._buffer = np.empty((0, SAMPLE_LENGTH), np.uint8)

    def of(self, rows: int) -> NDArray[np.uint8]:
        """At least ``rows`` rows, uint8 (M, 1500), overwriting what was there."""
        if len(self._buffer) < rows:
            self._buffer = np.empty((min(PIECE, max(rows, 2 * len(self._buffer))), SAMPLE_LENGTH), np.uint8)
        return self._buffer


class SampleStream:
    """Samples of one capture, piece by piece; a context manager and an iterator of ``Samples``.

    The arrays of a piece are valid until the next one is taken. ``batch`` and ``batch_headers`` are
    the packets and headers (left-out ones included) that the current piece was made from, and
    ``batch_flows`` the flow id of each.

    Attributes:
        reader: The capture's reader.
        flows: The flow table, filled while iterating.
        packets: Packets read so far.
        left_out: Reason -> packets left out so far.
        checks: Counts of cut samples, copies and packets out of order so far.
    """

    def __init__(
        self,
        source: "str | Path | Source | CaptureReader",
        *,
        mask: Mask = "paper",
        decapsulate: bool = True,
        flows: FlowTable | None = None,
        capture_index: int = 0,
        build: bool = True,
        sequences: bool = False,
        room: SampleRoom | None = None,
        selection: Selection | None = None,
        names: bool = False,
        services: Services | None = None,
    ) -> None:
        """Open a capture.

        Args:
            source: A path, a source of ``expand_inputs``, or a reader that is already open (which is
                closed with the stream).
            mask: ``paper``, ``strict`` or ``nameless``.
            decapsulate: Whether tunnels are peeled.
            flows: Table to add the packets to; without it, a new one.
            capture_index: Kept with each flow that begins in this capture.
            build: Whether samples are built at all; without it they are empty (0, 1500).
            sequences: Whether, in place of samples, there is what flow sequences take of each packet
                (``mtc.flows.sequences.sequence_packets``).
            room: Memory to build them in, which several captures may share one after the other.
            selection: Which packets count; the others are counted as left out, and join no flow.
            names: Whether the records of a new table say protocols and names (``FlowRecords.evidence``).
            services: What names and protocols stand for; without it, the table of the package.

        Raises:
            CaptureError: Nothing can be read from the source.
            UsageError: An unknown mask.
        """
        check_mask(mask)
        self.reader = _open(source)
        if flows is None:
            flows = FlowTable(evidence=EvidenceCollector(services) if names else None)
        self.flows = flows
        self.packets = 0
        self.left_out: Counter[str] = Counter()
        self.checks = CaptureChecks()
        self.batch: PacketBatch | None = None
        self.batch_headers: Headers | None = None
        self.batch_flows: NDArray[np.int64] | None = None
        self._mask: Mask = mask
        self._decapsulate = decapsulate
        self._capture_index = capture_index
        self._build = build
        self._sequences = sequences
        self._room = SampleRoom() if room is None else room
        self._selector = None if selection is None or selection.takes_all else Selector(selection)

    @property
    def damage(self) -> "Damage | None":
        """Where and why reading ended early; known when the stream has ended."""
        return self.reader.damage

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the capture."""
        self.reader.__exit__(None, None, None)

    def __iter__(self) -> Iterator[Samples]:
        """Pieces in file order; a damaged capture ends in an empty piece that holds the damage."""
        for batch in self.reader:
            for begin in range(0, len(batch), PIECE):
                yield self._samples(batch.part(begin, begin + PIECE))
        if self.reader.damage is not None:
            yield replace(self._samples(_EMPTY), damage=self.reader.damage)

    def _samples(self, batch: PacketBatch) -> Samples:
        headers = decode(batch, decapsulate=self._decapsulate)
        copies = self.checks.add(batch, headers)
        if self._selector is not None:
            _leave_out(headers, self._selector.reasons(batch, copies))
        flow = self.flows.update(headers, batch, capture_index=self._capture_index)
        rows = headers.sample_rows()
        left_out = headers.left_out()
        self.batch, self.batch_headers, self.batch_flows = batch, headers, flow
        self.packets += len(batch)
        self.left_out.update(left_out)
        return Samples(
            samples=self._cut(batch, headers, rows if self._build else rows[:0]),
            headers={
                "packet": rows + batch.first_packet,
                "timestamp": batch.timestamps[rows],
                "flow": flow[rows],
                "ip_version": headers.ip_version[rows],
                "protocol": headers.protocol[rows],
                "src_port": headers.src_port[rows],
                "dst_port": headers.dst_port[rows],
                "ip_length": headers.ip_length[rows],
                "ttl": headers.ttl[rows],
                "caplen": batch.caplens[rows],
                "wirelen": batch.wirelens[rows],
                "payload_length": headers.payload_length[rows],
            },
            packets=len(batch),
            left_out=left_out,
            damage=None,
            flows=self.flows,
        )

    def _cut(self, batch: PacketBatch, headers: Headers, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self._sequences:
            return sequence_packets(batch, headers, rows)
        samples = build_samples(batch, headers, rows, self._room.of(len(rows)))
        if self._mask != "paper":
            mask_samples(samples, self._mask, out=samples)
        return samples


_EMPTY = PacketBatch(
    data=np.empty(0, np.uint8),
    offsets=np.empty(0, np.int64),
    caplens=np.empty(0, np.int64),
    wirelens=np.empty(0, np.int64),
    timestamps=np.empty(0, np.int64),
    link_types=np.empty(0, np.int32),
    first_packet=1,
)


def _open(source: "str | Path | Source | CaptureReader") -> "CaptureReader":
    from mtc.capture import CaptureReader, open_capture

    return source if isinstance(source, CaptureReader) else open_capture(source)


def _leave_out(headers: Headers, reasons: NDArray[np.uint8]) -> None:
    """Make packets left out that have a reason (an index into ``REASONS``) not to be looked at."""
    out = reasons != 0
    headers.reason[out] = reasons[out]
    headers.is_transport[out] = False


def iter_samples(*captures: str | Path, mask: Mask = "paper", decapsulate: bool = True) -> Iterator[Samples]:
    """Samples of captures, in pieces of at most 8192 packets, in bounded memory.

    Args:
        captures: Files, folders, zip members, or ``-`` for standard input.
        mask: ``paper`` (addresses zeroed), ``strict`` or ``nameless``, see ``mtc.packets.mask_samples``.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet.

    Yields:
        Samples in file order. The arrays are reused: they are valid until the next piece is taken.
        Flow ids run over all captures. A damaged capture ends in an empty piece with ``damage`` set.

    Raises:
        CaptureError: Nothing can be read from a capture.
    """
    from mtc.capture import expand_inputs

    check_mask(mask)
    flows, room = FlowTable(), SampleRoom()
    for index, source in enumerate(expand_inputs(captures)):
        with SampleStream(
            source, mask=mask, decapsulate=decapsulate, flows=flows, capture_index=index, room=room
        ) as stream:
            yield from stream


def read_samples(capture: str | Path, *, mask: Mask = "paper", decapsulate: bool = True) -> Samples:
    """All samples of a capture at once.

    Args:
        capture: A file, a folder, a zip member, or ``-`` for standard input.
        mask: ``paper`` (addresses zeroed), ``strict`` or ``nameless``, see ``mtc.packets.mask_samples``.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet.

    Raises:
        CaptureError: Nothing can be read from the capture.
    """
    samples: list[NDArray[np.uint8]] = []
    headers: list[dict[str, NDArray[Any]]] = []
    left_out: Counter[str] = Counter()
    packets, damage, flows = 0, None, FlowTable()
    for piece in iter_samples(capture, mask=mask, decapsulate=decapsulate):
        samples.append(piece.samples.copy())
        headers.append(piece.headers)
        left_out.update(piece.left_out)
        packets += piece.packets
        damage = damage or piece.damage
        flows = piece.flows
    if not headers:
        samples, headers = [np.empty((0, SAMPLE_LENGTH), np.uint8)], [_NO_HEADERS]
    return Samples(
        samples=np.concatenate(samples),
        headers={name: np.concatenate([part[name] for part in headers]) for name in headers[0]},
        packets=packets,
        left_out=dict(left_out),
        damage=damage,
        flows=flows,
    )


_NO_HEADERS: dict[str, NDArray[Any]] = {
    "packet": np.empty(0, np.int64),
    "timestamp": np.empty(0, np.int64),
    "flow": np.empty(0, np.int64),
    "ip_version": np.empty(0, np.uint8),
    "protocol": np.empty(0, np.uint8),
    "src_port": np.empty(0, np.uint16),
    "dst_port": np.empty(0, np.uint16),
    "ip_length": np.empty(0, np.int32),
    "ttl": np.empty(0, np.uint8),
    "caplen": np.empty(0, np.int64),
    "wirelen": np.empty(0, np.int64),
    "payload_length": np.empty(0, np.int64),
}


def read_sequences(
    source: "str | Path | Source", *, decapsulate: bool = True
) -> tuple[NDArray[np.uint8], FlowRecords, "Damage | None"]:
    """Sequences of the flows of a capture that have a packet that counts (a sample).

    Returns:
        uint8 (N, ROW_BYTES), see ``mtc.flows.sequences``, the records of the N flows, and where and why
        reading ended early, or None.

    Raises:
        CaptureError: Nothing can be read from the capture.
    """
    table = SequenceTable()
    with SampleStream(source, decapsulate=decapsulate, sequences=True) as stream:
        for piece in stream:
            table.add(piece.samples, piece.headers["flow"])
        records, damage = stream.flows.records(), stream.damage
    table.grow(len(records))
    rows = np.flatnonzero(table.counts(np.arange(len(records))))
    return table.sequences(rows), records.take(rows), damage
