"""From packets to the features of flows that have ended."""

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.flows.features import flow, kernels
from mtc.flows.features.conventions import CORRECTED, STATISTICS, Convention
from mtc.flows.features.packets import PacketReader
from mtc.flows.features.statistics import write_statistics
from mtc.flows.kernels import KEYS
from mtc.flows.records import FlowRecords
from mtc.packets.checks import CaptureChecks
from mtc.packets.headers import decode
from mtc.packets.selection import Selection, Selector

SMALLEST = 512
"""Rows of an empty table."""

LARGE = 100_000
"""Rows from which on a table grows by a quarter, and no longer to twice its size."""

PIECE = 8192
"""Most packets handled at a time."""

LEAST_SEEN = 1 << 17
"""Room for fingerprints of TCP packets at least, so that those of closed flows are not sought too often."""

MOST_SEEN = 1 << 24
"""Most TCP packets remembered for ``TCP Retrans. Count``. Beyond them the oldest connections' are forgotten,
so that memory is bounded (512 MB); the tool remembers all."""


_RECORD = frozenset(f.name for f in fields(FlowRecords))


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRows:
    """Flows that have ended, as columns of equal length.

    Attributes:
        number: int64, numbers flows of a capture by first packet, from 0.
        start: int64, time of the first packet, ns since the epoch.
        end: int64, time of the last packet.
        ip_version: uint8.
        protocol: uint8, as the convention has it: 0 for all that it does not know.
        src: uint64 (N, 2), big-endian halves, IPv4 in the low 32 bits of the second.
        dst: uint64 (N, 2).
        src_port: uint16.
        dst_port: uint16.
        reversed_id: bool, whether the Flow ID runs from ``dst`` to ``src``.
        packets_forward: int64, packets from ``src`` as the convention has it.
        packets_back: int64.
        bytes_forward: int64, their bytes on the wire.
        bytes_back: int64.
        values: float64 (N, 86), see ``conventions.STATISTICS``.
    """

    number: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    ip_version: NDArray[np.uint8]
    protocol: NDArray[np.uint8]
    src: NDArray[np.uint64]
    dst: NDArray[np.uint64]
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    reversed_id: NDArray[np.bool_]
    packets_forward: NDArray[np.int64]
    packets_back: NDArray[np.int64]
    bytes_forward: NDArray[np.int64]
    bytes_back: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: NDArray[Any]) -> Self:
        """Only some rows, in the order asked for."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Several as one, behind each other; at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def without_values(self) -> Self:
        """The same flows, but for their features."""
        return replace(self, values=np.empty((len(self), 0)))

    def records(self, number: NDArray[np.int64] | None = None) -> FlowRecords:
        """The same flows as records, in the same order; numbered so, or from 0."""
        shared = {f.name: getattr(self, f.name) for f in fields(self) if f.name in _RECORD}
        none = np.zeros(len(self), np.int64)
        flow = np.arange(len(self)) if number is None else number
        return FlowRecords(flow=flow, capture=none, **shared)


class FeatureTable:
    """Puts the packets of one capture into flows, by a convention, and computes the features of flows.

    Flows that have ended leave with ``update``, those still open with ``finish``. No flow ends by the clock
    alone, in none of the conventions, so that memory grows with the number of five-tuples; where packets
    come without end, ``take_idle`` bounds it.

    Attributes:
        convention: How flows are delimited and features computed.
        packets: Packets read so far.
    """

    def __init__(
        self,
        convention: Convention,
        *,
        strict: bool = False,
        decapsulate: bool = True,
        selection: Selection | None = None,
    ) -> None:
        """Begin with no flows.

        Args:
            convention: How flows are delimited and features computed.
            strict: Whether to read packets with the eyes of the original tool: IPv4 over Ethernet or raw IP
                only, its mistakes included.
            decapsulate: Whether tunnels are peeled down to the innermost IP packet; ``strict`` peels none.
            selection: Which packets count.

        Raises:
            UsageError: A wrong filter.
        """
        self.convention = convention
        self.packets = 0
        self._reader = PacketReader(convention, strict=strict, decapsulate=decapsulate)
        self._selector = None if selection is None or selection.takes_all else Selector(selection)
        self._checks = CaptureChecks() if selection is not None and selection.drop_duplicates else None
        self._keys = np.frombuffer(secrets.token_bytes(8 * KEYS), np.uint64)
        self._counts = np.zeros(4, np.int64)
        self._slots = np.full(2 * SMALLEST, -1, np.int64)
        self._integers = np.zeros((SMALLEST, flow.INTEGERS), np.int64)
        self._reals = np.zeros((SMALLEST, flow.REALS))
        self._closed = np.zeros((0, flow.INTEGERS), np.int64), np.zeros((0, flow.REALS))
        self._seen = np.zeros((2, 2), np.uint64)

    @property
    def left_out(self) -> Counter[str]:
        """Reason -> packets so far that take part in no flow."""
        return self._reader.left_out

    @property
    def unwritten(self) -> int:
        """Flows so far that ended with one packet, which the convention does not write."""
        return int(self._counts[kernels.UNWRITTEN])

    @property
    def begun(self) -> int:
        """Flows so far."""
        return int(self._counts[kernels.FLOWS])

    @property
    def held(self) -> int:
        """Number of flows that are open."""
        return int(self._counts[kernels.ROWS])

    def update(self, batch: PacketBatch) -> FeatureRows:
        """Add packets; returns the flows that they ended, in the order in which they ended."""
        parts = [
            self._update(batch.part(begin, begin + PIECE)) for begin in range(0, max(len(batch), 1), PIECE)
        ]
        return parts[0] if len(parts) == 1 else FeatureRows.joined(parts)

    def _update(self, batch: PacketBatch) -> FeatureRows:
        reasons = None if self._selector is None else self._selector.reasons(batch, self._copies(batch))
        packets = self._reader.read(batch, reasons)
        self.packets += len(batch)
        self._reserve(len(packets))
        closed = kernels.update(
            packets,
            self.convention.code,
            self._keys,
            self._slots,
            self._integers,
            self._reals,
            self._counts,
            *self._closed,
            self._seen,
            np.empty(len(packets), np.uint64),
        )
        return self._rows(self._closed[0][:closed], self._closed[1][:closed])

    def _copies(self, batch: PacketBatch) -> NDArray[np.bool_]:
        """Which packets are copies of another, where those do not count."""
        if self._checks is None:
            return np.zeros(len(batch), np.bool_)
        return self._checks.add(batch, decode(batch))

    def finish(self) -> Iterator[FeatureRows]:
        """The flows that are open, by first packet, in pieces; the table is empty then."""
        yield from self._pieces(np.arange(self.held))
        self._keep(np.empty(0, np.int64))

    def take_idle(self, before: int) -> FeatureRows:
        """Hand out and forget the flows without a packet since a time, in microseconds since the epoch."""
        idle = self._integers[: self.held, flow.LAST] < before
        rows = FeatureRows.joined(list(self._pieces(np.flatnonzero(idle))))
        if idle.any():
            self._keep(np.flatnonzero(~idle))
        return rows

    def take_idlest(self, count: int) -> FeatureRows:
        """Hand out and forget the ``count`` flows whose last packet is longest ago."""
        order = np.argsort(self._integers[: self.held, flow.LAST], kind="stable")
        rows = FeatureRows.joined(list(self._pieces(order[:count])))
        self._keep(np.sort(order[count:]))
        return rows

    def _pieces(self, order: NDArray[np.int64]) -> Iterator[FeatureRows]:
        """Those of some open flows that are written; at least one piece."""
        integers = self._integers
        if not self.convention.writes_single:
            packets = integers[order, flow.FORWARD_PACKETS] + integers[order, flow.BACKWARD_PACKETS]
            self._counts[kernels.UNWRITTEN] += np.count_nonzero(packets == 1)
            order = order[packets > 1]
        order = order[np.argsort(integers[order, flow.NUMBER], kind="stable")]
        for begin in range(0, max(len(order), 1), PIECE):
            some = order[begin : begin + PIECE]
            yield self._rows(integers[some], self._reals[some])

    def _keep(self, rows: NDArray[np.int64]) -> None:
        """Forget all flows but some."""
        self._integers[: len(rows)], self._reals[: len(rows)] = self._integers[rows], self._reals[rows]
        self._counts[kernels.ROWS] = len(rows)
        kernels.fill_slots(self._slots, self._integers, len(rows))

    def _rows(self, integers: NDArray[np.int64], reals: NDArray[np.float64]) -> FeatureRows:
        values = np.empty((len(integers), len(STATISTICS)))
        write_statistics(integers, reals, self.convention.code, values)
        unsigned = integers.view(np.uint64)
        return FeatureRows(
            number=integers[:, flow.NUMBER].copy(),
            start=1000 * integers[:, flow.START] + integers[:, flow.START_NANOSECONDS],
            end=1000 * integers[:, flow.LAST] + integers[:, flow.LAST_NANOSECONDS],
            ip_version=integers[:, flow.VERSION].astype(np.uint8),
            protocol=integers[:, flow.PROTOCOL].astype(np.uint8),
            src=unsigned[:, [flow.SRC_HIGH, flow.SRC_LOW]],
            dst=unsigned[:, [flow.DST_HIGH, flow.DST_LOW]],
            src_port=integers[:, flow.SRC_PORT].astype(np.uint16),
            dst_port=integers[:, flow.DST_PORT].astype(np.uint16),
            reversed_id=integers[:, flow.ID_REVERSED] != 0,
            packets_forward=integers[:, flow.FORWARD_PACKETS].copy(),
            packets_back=integers[:, flow.BACKWARD_PACKETS].copy(),
            bytes_forward=integers[:, flow.FORWARD_WIRE].copy(),
            bytes_back=integers[:, flow.BACKWARD_WIRE].copy(),
            values=values,
        )

    def _reserve(self, packets: int) -> None:
        """Make room for as many new flows and fingerprints."""
        if len(self._closed[0]) < packets:
            self._closed = np.empty((packets, flow.INTEGERS), np.int64), np.empty((packets, flow.REALS))
        held = self.held
        if held + packets > len(self._integers):
            size = held + packets + (held // 4 if held > LARGE else max(held, 2 * PIECE))
            # In place, so that the table is never held twice.
            self._integers.resize((size, flow.INTEGERS), refcheck=False)
            self._reals.resize((size, flow.REALS), refcheck=False)
            if 2 * size > len(self._slots):
                self._slots = np.empty(1 << (2 * size - 1).bit_length(), np.int64)
                kernels.fill_slots(self._slots, self._integers, held)
        if self.convention.code == CORRECTED and 2 * (self._counts[kernels.SEEN] + packets) > len(self._seen):
            self._resize_seen(packets)

    def _resize_seen(self, packets: int) -> None:
        """Forget the fingerprints of connections that are over, then make room."""
        full = self._seen[:, 0] != 0
        keys, chains = self._seen[full, 0], self._seen[full, 1]
        last = np.iinfo(np.int64).max
        open_chains = np.append(np.sort(self._integers[: self.held, flow.CHAIN]), last).astype(np.uint64)
        alive = open_chains[np.searchsorted(open_chains, chains)] == chains
        keys, chains = keys[alive], chains[alive]
        if len(keys) > MOST_SEEN:
            newest = np.sort(np.argsort(chains, kind="stable")[-MOST_SEEN:])
            keys, chains = keys[newest], chains[newest]
        size = max(LEAST_SEEN, 1 << (4 * (len(keys) + packets)).bit_length())
        self._seen = np.zeros((size, 2), np.uint64)
        kernels.fill_seen(keys, chains, self._seen)
        self._counts[kernels.SEEN] = len(keys)
