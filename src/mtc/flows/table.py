"""Biflows: packets of both directions of a five-tuple, counted."""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.errors import UsageError
from mtc.flows import kernels as table
from mtc.flows.evidence import EvidenceCollector
from mtc.flows.records import FlowRecords
from mtc.packets.headers import Headers

SMALLEST = 512
"""Rows of an empty table."""

LINGER_NS = 5_000_000_000
"""How long an ended TCP flow still takes in what trails behind its end."""


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """What ends a flow. By default nothing does: a flow is all packets of its five-tuple."""

    idle_timeout_s: float | None = None
    """Seconds without a packet after which the next one begins a new flow."""
    active_timeout_s: float | None = None
    """Seconds since its first packet after which a flow is cut."""
    tcp_end: bool = False
    """Whether a TCP flow ends with RST or with FIN from both sides, so that a new SYN begins another."""

    def __post_init__(self) -> None:
        for name in ("idle_timeout_s", "active_timeout_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be positive, not {value}")

    @property
    def ends_flows(self) -> bool:
        """Whether any flow can ever be finished."""
        return self.idle_timeout_s is not None or self.active_timeout_s is not None or self.tcp_end


class FlowTable:
    """Assigns flow ids to packets and counts what each flow carries.

    Ids count from 0 by first packet. A flow's source is the sender of its first packet. Time runs by
    the packets' timestamps. With settings that end flows, ``take_finished`` hands out flows that no
    further packet can join and forgets them, so memory is bounded by the flows alive at a time.

    Attributes:
        settings: What ends a flow.
        ways: int8 (N,), direction of each packet of the last batch: 1 from ``src`` of its flow, 2 from
            ``dst``, 0 without a five-tuple.
    """

    def __init__(
        self, settings: FlowSettings | None = None, *, evidence: EvidenceCollector | None = None
    ) -> None:
        """Begin with no flows.

        Args:
            settings: What ends a flow.
            evidence: Collects what the flows say of themselves, so that records have ``evidence``; for
                this table alone.
        """
        self.settings = settings or FlowSettings()
        self._limits = np.array(
            [
                -1 if seconds is None else round(seconds * 1e9)
                for seconds in (self.settings.idle_timeout_s, self.settings.active_timeout_s)
            ]
            + [int(self.settings.tcp_end)],
            np.int64,
        )
        self._keys = np.frombuffer(secrets.token_bytes(8 * table.KEYS), np.uint64)
        self._rows = 0
        self._now = np.iinfo(np.int64).min
        self._slots = np.full(2 * SMALLEST, -1, np.int64)
        self._flows = np.empty(SMALLEST, table.FLOW)
        self._next = np.zeros(1, table.FLOW)  # what the next new flow begins as
        self._evidence = evidence
        self.ways = np.empty(0, np.int8)
        if evidence is not None:
            evidence.move(np.ones(0, np.bool_), SMALLEST)

    def __len__(self) -> int:
        """Number of flows seen so far, finished ones included."""
        return int(self._next["flow"][0])

    def update(self, headers: Headers, batch: PacketBatch, *, capture_index: int = 0) -> NDArray[np.int64]:
        """Add the packets of a batch.

        Args:
            headers: What ``decode`` says of the batch.
            batch: The packets, for times and lengths.
            capture_index: Kept with each flow that begins here.

        Returns:
            int64 (N,), the flow id of each packet; -1 for packets without a five-tuple.
        """
        self._reserve(self._rows + int(np.count_nonzero(headers.is_transport)))
        self._next["capture"] = capture_index
        out, rows = np.empty((2, len(headers)), np.int64)
        self.ways = np.empty(len(headers), np.int8)
        timestamps = np.ascontiguousarray(batch.timestamps, np.int64)
        self._rows = table.update_flows(
            headers.is_transport,
            headers.ip_version,
            headers.protocol,
            headers.src_port,
            headers.dst_port,
            headers.src,
            headers.dst,
            headers.tcp_flags,
            np.ascontiguousarray(batch.wirelens, np.int64),
            timestamps,
            self._limits,
            self._keys,
            self._slots,
            self._flows,
            self._rows,
            self._next,
            out,
            rows,
            self.ways,
        )
        if self._evidence is not None:
            self._evidence.collect(headers, batch, rows, self.ways, self._flows[: self._rows])
        if len(timestamps):
            self._now = max(self._now, int(timestamps.max()))
        return out

    def records(self) -> FlowRecords:
        """All flows that are held, by id; a copy."""
        return self._records(np.arange(self._rows))

    def records_of(self, ids: NDArray[np.int64]) -> FlowRecords:
        """Flows that are held, by their ids (int64, ascending); a copy."""
        held = self._flows["flow"][: self._rows]  # rows stand in the order of ids
        return self._records(np.searchsorted(held, ids))

    def _records(self, rows: NDArray[np.int64]) -> FlowRecords:
        flows = self._flows[: self._rows]
        evidence = None if self._evidence is None else self._evidence.evidence(flows, rows)
        return FlowRecords.of_rows(flows[rows], evidence)

    @property
    def held(self) -> int:
        """Number of flows that are held."""
        return self._rows

    def take_finished(self, now: int | None = None) -> FlowRecords:
        """Hand out and forget the flows that are over.

        Args:
            now: The time in ns, where it goes on without packets; else that of the newest packet.
        """
        now = self._now if now is None else max(now, self._now)
        flows = self._flows[: self._rows]
        over = (flows["state"] & table.SUPERSEDED) != 0
        idle, active, tcp_end = (int(limit) for limit in self._limits)
        if idle >= 0:
            over |= flows["end"] < now - idle
        if active >= 0:
            over |= flows["start"] < now - active
        if tcp_end:
            over |= ((flows["state"] & table.ENDED) != 0) & (flows["end"] < now - LINGER_NS)
        return self._take(over)

    def take_idlest(self, count: int) -> FlowRecords:
        """Hand out and forget the ``count`` flows whose last packet is longest ago."""
        over = np.zeros(self._rows, np.bool_)
        if count > 0:
            ends = self._flows["end"][: self._rows]
            over[np.argsort(ends, kind="stable")[:count]] = True
        return self._take(over)

    def _take(self, over: NDArray[np.bool_]) -> FlowRecords:
        finished = self._records(np.flatnonzero(over))
        if len(finished):
            if self._evidence is not None:
                self._evidence.forget(finished.flow)
            self._resize(~over)
        return finished

    def _reserve(self, rows: int) -> None:
        if rows > len(self._flows):
            self._resize(np.ones(self._rows, np.bool_), rows)

    def _resize(self, kept: NDArray[np.bool_], room: int = 0) -> None:
        """Hold just these rows, in new memory with room for as many and some more."""
        flows = self._flows[: self._rows]
        if not kept.all():
            flows = flows[kept]
        size = SMALLEST
        while size < max(2 * len(flows), room):
            size *= 2
        self._rows = len(flows)
        self._flows = np.empty(size, table.FLOW)
        self._flows[: len(flows)] = flows
        self._slots = np.empty(2 * size, np.int64)
        table.fill_slots(self._slots, self._flows, self._rows, self._keys)
        if self._evidence is not None:
            self._evidence.move(kept, size)
