"""Biflows: packets of both directions of a five-tuple, counted."""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.errors import UsageError
from mtc.packets import flow_kernels as table
from mtc.packets.flow_records import FlowRecords
from mtc.packets.headers import Headers

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
        """Check the values."""
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
    """

    def __init__(self, settings: FlowSettings | None = None) -> None:
        """Begin with no flows."""
        self.settings = settings or FlowSettings()
        self._limits = np.array(
            [
                -1 if seconds is None else round(seconds * 1e9)
                for seconds in (self.settings.idle_timeout_s, self.settings.active_timeout_s)
            ]
            + [int(self.settings.tcp_end)],
            np.int64,
        )
        self._seed = np.uint64(secrets.randbits(64))
        self._rows = 0
        self._next_id = 0
        self._now = np.iinfo(np.int64).min
        self._slots = np.full(1024, -1, np.int64)
        self._addresses = np.empty((512, 4), np.uint64)
        self._facts = np.empty((512, 6), np.int64)
        self._counts = np.empty((512, 7), np.int64)

    def __len__(self) -> int:
        """Number of flows seen so far, finished ones included."""
        return self._next_id

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
        out = np.empty(len(headers), np.int64)
        timestamps = np.ascontiguousarray(batch.timestamps, np.int64)
        self._rows, self._next_id = table.update_flows(
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
            capture_index,
            self._seed,
            self._limits,
            self._slots,
            self._addresses,
            self._facts,
            self._counts,
            self._rows,
            self._next_id,
            out,
        )
        if len(timestamps):
            self._now = max(self._now, int(timestamps.max()))
        return out

    def records(self) -> FlowRecords:
        """All flows that are held, by id; a copy."""
        return self._pick(np.arange(self._rows))

    def take_finished(self) -> FlowRecords:
        """Hand out and forget the flows that are over by the time of the newest packet."""
        state, counts = self._facts[: self._rows, table.STATE], self._counts[: self._rows]
        over = (state & table.SUPERSEDED) != 0
        idle, active, tcp_end = (int(limit) for limit in self._limits)
        if idle >= 0:
            over |= counts[:, table.END] < self._now - idle
        if active >= 0:
            over |= counts[:, table.START] < self._now - active
        if tcp_end:
            over |= ((state & table.ENDED) != 0) & (counts[:, table.END] < self._now - LINGER_NS)
        finished = self._pick(np.flatnonzero(over))
        if len(finished):
            self._keep(np.flatnonzero(~over))
        return finished

    def _pick(self, rows: NDArray[np.int64]) -> FlowRecords:
        facts, counts, addresses = self._facts[rows], self._counts[rows], self._addresses[rows]
        return FlowRecords(
            flow=counts[:, table.ID].copy(),
            ip_version=facts[:, table.IP_VERSION].astype(np.uint8),
            protocol=facts[:, table.PROTOCOL].astype(np.uint8),
            src=addresses[:, :2].copy(),
            src_port=facts[:, table.PORTS_SRC].astype(np.uint16),
            dst=addresses[:, 2:].copy(),
            dst_port=facts[:, table.PORTS_DST].astype(np.uint16),
            start=counts[:, table.START].copy(),
            end=counts[:, table.END].copy(),
            packets_forward=counts[:, table.PACKETS].copy(),
            packets_back=counts[:, table.PACKETS_BACK].copy(),
            bytes_forward=counts[:, table.BYTES].copy(),
            bytes_back=counts[:, table.BYTES_BACK].copy(),
            capture=facts[:, table.CAPTURE].copy(),
        )

    def _keep(self, rows: NDArray[np.int64]) -> None:
        """Forget all rows but these, and give back memory that is no longer needed."""
        self._rows = len(rows)
        size = 512
        while size < 2 * len(rows):
            size *= 2
        size = min(size, len(self._facts))
        for name in ("_addresses", "_facts", "_counts"):
            old = getattr(self, name)
            new = np.empty((size, old.shape[1]), old.dtype)
            new[: len(rows)] = old[rows]
            setattr(self, name, new)
        self._rebuild(2 * size)

    def _reserve(self, rows: int) -> None:
        size = len(self._facts)
        if rows <= size:
            return
        while size < rows:
            size *= 2
        for name in ("_addresses", "_facts", "_counts"):
            old = getattr(self, name)
            new = np.empty((size, old.shape[1]), old.dtype)
            new[: self._rows] = old[: self._rows]
            setattr(self, name, new)
        self._rebuild(2 * size)

    def _rebuild(self, slots: int) -> None:
        self._slots = np.empty(slots, np.int64)
        table.fill_slots(self._slots, self._addresses, self._facts, self._rows, self._seed)
