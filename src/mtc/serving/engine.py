"""From packets to events of flows: flow table, samples, the model, verdicts, in bounded memory."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.capture import PacketBatch
from mtc.errors import UsageError
from mtc.flows import FlowRecords, FlowSettings, FlowTable
from mtc.flows.evidence import EvidenceCollector
from mtc.flows.sequences import sequence_packets
from mtc.inference import Classifier
from mtc.inference.sequence_aggregator import aggregator_for
from mtc.packets import Headers, build_samples, decode, mask_samples
from mtc.serving.events import Event, EventMaker, EventVerdicts, FlowState
from mtc.serving.watch_settings import WatchCounts, WatchSettings

CROWDED, CLEAR = 0.5, 0.1
"""Fill of the queue above which fewer new flows are classified, and below which more are."""
FEWER, MORE = 0.6, 1.2
LEAST = 1 / 1024
STEP_S = 0.5


@dataclass
class SamplingRate:
    """The share of new flows that is classified, by how full the queue to the model is.

    Attributes:
        rate: From 1/1024 to 1.
    """

    rate: float = 1.0
    _last_step_s: float = float("-inf")

    def update(self, fill: float, now_s: float) -> None:
        """Look at the queue.

        Args:
            fill: How full it is, 0 to 1.
            now_s: Monotonic seconds; the rate changes at most every half a second.
        """
        if now_s - self._last_step_s < STEP_S or (fill <= CROWDED and self.rate == 1):
            return
        self._last_step_s = now_s
        if fill > CROWDED:
            self.rate = max(LEAST, self.rate * FEWER)
        elif fill < CLEAR:
            self.rate = min(1.0, self.rate * MORE)


def flow_shares(headers: Headers, rows: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number for each packet's flow, evenly spread over [0, 1): below the rate, the flow is classified.

    Args:
        headers: Of a batch.
        rows: int64 (M,), packets with a five-tuple.
        seed: 64 bits that nobody else knows.

    Returns:
        float64 (M,), the same for both directions of a flow.
    """
    with np.errstate(over="ignore"):
        ends = _endpoint(headers.src[rows], headers.src_port[rows], seed)
        ends += _endpoint(headers.dst[rows], headers.dst_port[rows], seed)
        shares = _mix(ends + headers.protocol[rows].astype(np.uint64))
    return (shares >> np.uint64(11)).astype(np.float64) / 2.0**53


def _endpoint(address: NDArray[np.uint64], port: NDArray[np.uint16], seed: int) -> NDArray[np.uint64]:
    high = _mix(address[:, 0] ^ np.uint64(seed))
    return _mix(high ^ _mix(address[:, 1] + np.uint64(seed)) ^ (port.astype(np.uint64) << np.uint64(48)))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finalizer of splitmix64: every input bit reaches every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed


PIECE = 8192
"""Most packets handled at a time."""

NEVER = -(1 << 63)
"""A time before all packets, ns."""

COMPUTE_AT = 512
"""Samples that are worth a call of the model; fewer wait for the next tick."""


class WatchEngine:
    """Takes packets in and gives events of flows out.

    Attributes:
        counts: What has gone through so far.
        flows: The flow table.
        rate: Share of new flows that is classified; to be set from outside.
    """

    def __init__(
        self,
        classifier: Classifier,
        maker: EventMaker,
        emit: Callable[[Event], None],
        settings: WatchSettings | None = None,
        *,
        reject: bool = True,
    ) -> None:
        """Begin without flows.

        Args:
            classifier: A model that reads packets.
            maker: Makes the events.
            emit: Takes each event.
            settings: Timeouts and limits.
            reject: Whether labels below the model's threshold are unknown.

        Raises:
            UsageError: The model does not read packets.
        """
        if classifier.reads_features:
            raise UsageError(f"model {classifier.name}: reads features of whole flows, not packets")
        self.settings = settings or WatchSettings()
        self.counts = WatchCounts()
        self.rate = 1.0
        self.flows = FlowTable(
            FlowSettings(
                idle_timeout_s=self.settings.idle_timeout_s,
                active_timeout_s=self.settings.active_timeout_s,
                tcp_end=True,
            ),
            evidence=EvidenceCollector(names=self.settings.names),
        )
        self._classifier = classifier
        self._verdicts = EventVerdicts(classifier, self.settings, reject=reject)
        self._maker, self._emit = maker, emit
        self._aggregator = aggregator_for(
            classifier.model,
            precision=classifier.precision,
            packets=self.settings.first_packets,
            reuse=False,
            extra={"first": np.int64, "sampled": np.bool_, "reported": np.bool_, "rate": np.float64},
        )
        self._seed = secrets.randbits(64)
        self.now = NEVER  # time of the newest packet, ns

    def take(self, batch: PacketBatch) -> None:
        """Take in packets."""
        for begin in range(0, len(batch), PIECE):
            self._take_piece(batch.part(begin, begin + PIECE))
            if self._aggregator.pending >= COMPUTE_AT:
                self._compute(self.now)
            # Pushed out by eighths, so that a full table is not searched for every packet.
            if self.flows.held > self.settings.max_flows:
                self._compute(self.now)
                count = self.flows.held - self.settings.max_flows * 7 // 8
                self._end(self.flows.take_idlest(count), self.now, "evicted")

    def tick(self, now: int) -> None:
        """Give the verdicts that are due; to be called a few times a second.

        Args:
            now: The time by the clock of the packets, ns.
        """
        now = max(now, self.now)
        self._compute(now)
        self._end(self.flows.take_finished(now), now)
        columns = self._aggregator.columns
        waited = now - columns["first"] >= self.settings.verdict_timeout_s * 1e9
        judged = self._aggregator.judged(np.arange(len(columns["flow"]))) > 0
        due = (columns["flow"] >= 0) & ~columns["reported"] & judged & waited
        self._emit_early(np.flatnonzero(due), now, "waited")

    def finish(self, now: int, reason: str) -> None:
        """End all flows, for ``end_of_input`` or because the watch is ``stopped``."""
        now = max(now, self.now)
        self._compute(now)
        self._end(self.flows.take_finished(now), now)
        self._end(self.flows.take_idlest(self.flows.held), now, reason)

    def _take_piece(self, batch: PacketBatch) -> None:
        headers = decode(batch, decapsulate=self.settings.decapsulate)
        if self.settings.snaplen:
            batch = replace(batch, wirelens=_wire_lengths(batch, headers, self.settings.snaplen))
        flow = self.flows.update(headers, batch)
        rows = headers.sample_rows()
        counts = self.counts
        counts.packets += len(batch)
        counts.wire_bytes += int(batch.wirelens.sum())
        counts.samples += len(rows)
        counts.cut_samples += int(np.count_nonzero((batch.caplens < batch.wirelens)[rows]))
        counts.left_out.update(headers.left_out())
        if len(batch):
            self.now = max(self.now, int(batch.timestamps.max()))
        if len(rows):
            self._take_samples(batch, headers, rows, flow[rows])

    def _take_samples(
        self, batch: PacketBatch, headers: Headers, rows: NDArray[np.int64], flow: NDArray[np.int64]
    ) -> None:
        """Hold the samples that count: the first ones of each flow that is not skipped by sampling."""
        flows, first, member = np.unique(flow, return_index=True, return_inverse=True)
        places = self._aggregator.rows_of(flows)
        new = places < 0
        if new.any():
            begins = rows[first[new]]
            sampled = flow_shares(headers, begins, self._seed) < self.rate
            places[new] = self._aggregator.open(
                flows[new], first=batch.timestamps[begins], sampled=sampled, rate=self.rate
            )
        row = places[member]
        counted = self._aggregator.count(row)
        judged = counted & self._aggregator.columns["sampled"][row]
        self.counts.sampling += int(np.count_nonzero(counted & ~judged))
        if judged.any():
            if self._classifier.reads_flows:
                self._aggregator.hold(sequence_packets(batch, headers, rows[judged]), row[judged])
                return
            samples = build_samples(batch, headers, rows[judged])
            if self._classifier.mask != "paper":
                mask_samples(samples, self._classifier.mask, out=samples)
            self._aggregator.hold(samples, row[judged])

    def _compute(self, now: int) -> None:
        """Compute the samples held, and report the flows that have enough by that."""
        rows = self._aggregator.compute()
        if not len(rows):
            return
        self.counts.judged += len(rows)
        columns = self._aggregator.columns
        rows = np.unique(rows)
        rows = rows[~columns["reported"][rows]]
        enough = self._aggregator.judged(rows) >= self._aggregator.packets
        self._emit_early(rows[enough], now, "packets")
        if self.settings.early_confidence is not None and len(rows := rows[~enough]):
            best = [values.max(1) for values in self._aggregator.probabilities(rows).values()]
            sure = np.min(best, axis=0) >= self.settings.early_confidence
            self._emit_early(rows[sure], now, "confidence")

    def _emit_early(self, rows: NDArray[np.int64], now: int, reason: str) -> None:
        if not len(rows):
            return
        columns = self._aggregator.columns
        rows = rows[np.argsort(columns["flow"][rows])]
        columns["reported"][rows] = True
        records = self.flows.records_of(columns["flow"][rows])
        for at, state in enumerate(self._states(rows, "early", [reason] * len(rows))):
            self._emit(self._maker.flow_verdict(records, at, state, now))

    def _end(self, records: FlowRecords, now: int, reason: str | None = None) -> None:
        """Report and forget flows that are over; all their samples have been computed."""
        if not len(records):
            return
        rows = self._aggregator.rows_of(records.flow)
        reasons = [reason or self._why(records, at, now) for at in range(len(records))]
        for at, state in enumerate(self._states(rows, "end", reasons)):
            self._count_end(state)
            self._emit(self._maker.flow_verdict(records, at, state, now))
        self._aggregator.close(rows[rows >= 0])

    def _count_end(self, state: FlowState) -> None:
        counts = self.counts
        counts.flows_ended += 1
        counts.flows_judged += state.judged > 0
        counts.flows_sampled_out += not state.sampled
        counts.flows_evicted += state.reason == "evicted"

    def _why(self, records: FlowRecords, row: int, now: int) -> str:
        if now - int(records.end[row]) > self.settings.idle_timeout_s * 1e9:
            return "idle"
        if now - int(records.start[row]) > self.settings.active_timeout_s * 1e9:
            return "active"
        return "closed"

    def _states(self, rows: NDArray[np.int64], state: str, reasons: Sequence[str]) -> Iterator[FlowState]:
        """What is known of flows by their rows in the aggregator, -1 where a flow has had no sample."""
        columns = self._aggregator.columns
        judged = np.zeros(len(rows), np.int64)
        judged[rows >= 0] = self._aggregator.judged(rows[rows >= 0])
        unlike = np.zeros(len(rows), np.bool_)
        found: Iterator[dict[str, Any]] = iter(())
        if judged.any():
            probabilities = self._aggregator.probabilities(rows[judged > 0])
            below = self._aggregator.below(rows[judged > 0], probabilities)
            found = self._verdicts.of(probabilities, below)
            unlike[judged > 0] = self._verdicts.unlike(below, int(np.count_nonzero(judged)))
        marks = zip(rows.tolist(), judged.tolist(), unlike.tolist(), reasons, strict=True)
        for row, count, is_unlike, reason in marks:
            verdicts = next(found) if count else self._verdicts.nothing()
            if row < 0:
                yield FlowState(state, reason, 0, 0, verdicts)
                continue
            yield FlowState(
                state,
                reason,
                samples=int(columns["seen"][row]),
                judged=count,
                verdicts=verdicts,
                unlike=is_unlike,
                sampled=bool(columns["sampled"][row]),
                sampling_rate=float(columns["rate"][row]),
            )


def _wire_lengths(batch: PacketBatch, headers: Headers, snaplen: int) -> NDArray[np.int64]:
    """Lengths on the wire where they were not captured, from what IP says of its packet."""
    claimed = headers.ip_offset - batch.offsets + headers.ip_length
    cut = (batch.caplens >= snaplen) & (headers.ip_version > 0)
    return np.where(cut, np.maximum(claimed, batch.wirelens), batch.wirelens)
