"""From packets to events of flows, with a model that reads features of whole flows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtc.capture import PacketBatch
from mtc.datasets.flow_features.columns import values_of_flows
from mtc.flows.features import FeatureRows, FeatureTable
from mtc.inference import Classifier, VerdictSettings
from mtc.inference.feature_flows import feature_table
from mtc.inference.feature_rows import feature_verdicts
from mtc.packets.transport import TCP, UDP
from mtc.serving.events import Event, EventMaker, EventVerdicts, FlowState
from mtc.serving.watch_settings import WatchCounts, WatchSettings


@dataclass(slots=True)
class OpenFlows:
    """Flows as an event of kind ``stats`` counts them.

    Attributes:
        total: Flows so far.
        held: Of these, open.
    """

    total: int = 0
    held: int = 0

    def __len__(self) -> int:
        return self.total


class FeatureEngine:
    """Takes packets in and gives an event at the end of each flow; its parts are those of ``WatchEngine``.

    A flow ends as the model's convention has it (FIN, RST, 120 s), or by the clock: without a packet for the
    idle timeout. No flow has an early verdict, and flows of one packet have one only where the convention
    writes them.
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
        self.settings = settings or WatchSettings()
        self.counts = WatchCounts()
        self.rate = 1.0
        self.now = 0
        self.flows = OpenFlows()
        self._classifier = classifier
        self._verdicts = EventVerdicts(classifier, self.settings, reject=reject)
        self._maker, self._emit = maker, emit
        verdicts = VerdictSettings(decapsulate=self.settings.decapsulate)
        self._table: FeatureTable = feature_table(classifier.model, verdicts)

    def take(self, batch: PacketBatch) -> None:
        """Take in packets."""
        before = self._table.left_out.total()
        self._end(self._table.update(batch), "closed")
        counts = self.counts
        counts.packets += len(batch)
        counts.wire_bytes += int(batch.wirelens.sum())
        counts.samples += len(batch) - (self._table.left_out.total() - before)
        counts.left_out = self._table.left_out.copy()
        if len(batch):
            self.now = max(self.now, int(batch.timestamps.max()))
        if self._table.held > self.settings.max_flows:
            count = self._table.held - self.settings.max_flows * 7 // 8
            self._end(self._table.take_idlest(count), "evicted")

    def tick(self, now: int) -> None:
        """End the flows that are idle; to be called a few times a second.

        Args:
            now: The time by the clock of the packets, ns.
        """
        idle_ns = round(self.settings.idle_timeout_s * 1e9)
        self._end(self._table.take_idle((max(now, self.now) - idle_ns) // 1000), "idle")

    def finish(self, now: int, reason: str) -> None:
        """End all flows, for ``end_of_input`` or because the watch is ``stopped``."""
        self.now = max(now, self.now)
        for rows in self._table.finish():
            self._end(rows, reason)
        self.flows.held = self._table.held

    def _end(self, rows: FeatureRows, reason: str) -> None:
        counts = self.counts
        self.flows.total, self.flows.held = self._table.begun, self._table.held
        rows = rows.take(np.isin(rows.protocol, (TCP, UDP)))  # events are of flows with ports
        if not len(rows):
            return
        model, precision = self._classifier.model, self._classifier.precision
        found = self._verdicts.of(*feature_verdicts(model, values_of_flows(rows), precision, "flow"))
        records = rows.without_values().records(rows.number)
        counts.judged += len(rows)
        counts.flows_ended += len(rows)
        counts.flows_judged += len(rows)
        counts.flows_evicted += len(rows) * (reason == "evicted")
        packets = np.asarray(records.packets).tolist()
        for at, (verdicts, count) in enumerate(zip(found, packets, strict=True)):
            state = FlowState("end", reason, samples=count, judged=count, verdicts=verdicts)
            self._emit(self._maker.flow_verdict(records, at, state, self.now))
