"""Verdicts on one capture."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc.capture import Source
from mtc.config import Precision
from mtc.flows import FlowRecords, Samples, SampleStream, flow_table
from mtc.flows.ndpi import add_opinions
from mtc.flows.services import Services
from mtc.inference.logit_cache import CACHED_SAMPLES, LogitCache
from mtc.inference.sequence_aggregator import aggregator_for
from mtc.inference.settings import VerdictSettings
from mtc.inference.verdict_builder import below_thresholds
from mtc.inference.verdicts import CaptureVerdicts, PacketVerdicts
from mtc.models import LoadedModel, predict_probabilities
from mtc.models.flow_scores import energies
from mtc.packets import Mask
from mtc.packets.checks import CheckCounts
from mtc.parallel import Advance

Per = Literal["packet", "flow"]


Progress = Callable[[Source, int], None]
"""Called with a capture and the bytes newly read of it."""


@dataclass(frozen=True, slots=True)
class CaptureEnd:
    """The counts of a capture that has been read.

    Attributes:
        capture: Its name as given.
        flows: Flows in it.
        packets: Packets read from it.
        samples: Those that are samples.
        judged: Samples that verdicts are made of.
        computed: Samples that were computed: without those equal to one before.
        flows_computed: Flows with samples, where flows get verdicts.
        flows_unlike: Those of them that are unlike the model's training data.
        left_out: Reason -> packets that are no samples.
        damage: Where and why reading ended early, as a sentence, or None.
        notes: What else is remarkable about it, a sentence each.
        checks: Cut samples, packets that come twice, packets out of order.
    """

    capture: str
    flows: int
    packets: int
    samples: int
    judged: int
    computed: int
    flows_computed: int
    flows_unlike: int
    left_out: dict[str, int]
    damage: str | None
    notes: tuple[str, ...] = ()
    checks: CheckCounts = field(default_factory=CheckCounts)


Verdicts = CaptureVerdicts | PacketVerdicts


class _Counts(NamedTuple):
    """See ``CaptureEnd``."""

    samples: int
    judged: int
    computed: int
    flows: int = 0
    unlike: int = 0


@dataclass(frozen=True, slots=True)
class CaptureInference:
    """A model and its settings, for capture after capture.

    Attributes:
        model: One that reads packets.
        precision: See ``mtc.models.predict_logits``.
        settings: What decides the verdicts.
        per: What gets a verdict.
    """

    model: LoadedModel
    precision: Precision
    settings: VerdictSettings
    per: Per

    def run(
        self, source: Source, advance: Advance = lambda done: None
    ) -> Generator[Verdicts, None, CaptureEnd]:
        """Verdicts on a capture; flows are counted from 1.

        Args:
            source: What ``mtc.capture.expand_inputs`` yields.
            advance: Called with the bytes newly read after each piece.

        Yields:
            The flows at the end of the capture, or its samples piece by piece.

        Raises:
            CaptureError: Nothing can be read from it.
        """
        with self._open(source) as stream:
            steps = (
                self._flows(source, stream, advance) if self.per == "flow" else self._packets(stream, advance)
            )
            counts = yield from steps
            return CaptureEnd(
                capture=stream.reader.name,
                flows=len(stream.flows),
                packets=stream.packets,
                samples=counts.samples,
                judged=counts.judged,
                computed=counts.computed,
                flows_computed=counts.flows,
                flows_unlike=counts.unlike,
                left_out=dict(stream.left_out),
                damage=None if stream.damage is None else str(stream.damage),
                checks=stream.checks.counts,
            )

    def _open(self, source: Source) -> SampleStream:
        settings = self.settings
        flows = None
        if self.per == "flow":
            flows = flow_table(names=settings.names, services=settings.services)
        return SampleStream(
            source,
            mask=mask_of(self.model),
            decapsulate=settings.decapsulate,
            selection=settings.selection,
            flows=flows,
            names=False,
            sequences=self.model.card.config.model.reads_flows,
        )

    def _flows(
        self, source: Source, stream: SampleStream, advance: Advance
    ) -> Generator[CaptureVerdicts, None, _Counts]:
        settings, card = self.settings, self.model.card
        aggregator = aggregator_for(
            self.model,
            precision=self.precision,
            packets=settings.packets,
            early=settings.early,
            reuse=settings.reuse,
        )
        for piece in _reported(stream, advance):
            aggregator.add(piece.samples, piece.headers["flow"])
        flows = stream.flows.records()
        if settings.ndpi:
            add_opinions(flows, source, Services.load(settings.services))
        counts, judged, probabilities, below = aggregator.result(len(flows))
        found = CaptureVerdicts(
            capture=stream.reader.name,
            tasks=_tasks(self.model),
            flows=flows,
            samples=counts,
            probabilities=probabilities,
            packets=stream.packets,
            left_out=dict(stream.left_out),
            damage=None if stream.damage is None else str(stream.damage),
            pairs=card.pairs,
            below=below,
            reject=settings.reject,
        )
        yield found
        return _Counts(
            int(counts.sum()),
            int(judged.sum()),
            aggregator.computed,
            int(np.count_nonzero(counts)),
            int(np.count_nonzero(found.unlike)),
        )

    def _packets(self, stream: SampleStream, advance: Advance) -> Generator[PacketVerdicts, None, _Counts]:
        cache = LogitCache(self._logits, limit=CACHED_SAMPLES if self.settings.reuse else 0)
        temperatures = self.model.temperatures("packet")
        card, absent = self.model.card, self.model.absent
        for piece in _reported(stream, advance):
            if len(piece):
                logits = cache.logits(piece.samples)
                probabilities = predict_probabilities(logits, temperatures, absent)
                reject = self.settings.reject
                yield PacketVerdicts(
                    capture=stream.reader.name,
                    tasks=_tasks(self.model),
                    packets=_as_flows(stream, piece),
                    numbers=piece.headers["packet"],
                    probabilities=probabilities,
                    below=below_thresholds(card, "packet", probabilities, energies(logits, absent))
                    if reject
                    else {},
                    pairs=card.pairs,
                )
        return _Counts(cache.requested, cache.requested, cache.computed)

    def _logits(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return self.model.row_logits(samples, precision=self.precision)


def _reported(stream: SampleStream, advance: Advance) -> Iterator[Samples]:
    """The pieces of a stream; the bytes read are reported after each was used."""
    seen = 0
    for piece in stream:
        yield piece
        advance(stream.reader.bytes_read - seen)
        seen = stream.reader.bytes_read


def mask_of(model: LoadedModel) -> Mask:
    """Header fields that a model never sees."""
    return model.card.config.data.mask


def _tasks(model: LoadedModel) -> dict[str, tuple[str, ...]]:
    return {task: tuple(classes) for task, classes in model.card.tasks.items()}


def _as_flows(stream: SampleStream, piece: Samples) -> FlowRecords:
    """One record per sample: a flow of one packet."""
    assert stream.batch is not None
    assert stream.batch_headers is not None
    columns, headers = piece.headers, stream.batch_headers
    rows = columns["packet"] - stream.batch.first_packet
    one, none = np.ones(len(rows), np.int64), np.zeros(len(rows), np.int64)
    return FlowRecords(
        flow=columns["flow"],
        ip_version=columns["ip_version"],
        protocol=columns["protocol"],
        src=headers.src[rows],
        src_port=columns["src_port"],
        dst=headers.dst[rows],
        dst_port=columns["dst_port"],
        start=columns["timestamp"],
        end=columns["timestamp"],
        packets_forward=one,
        packets_back=none,
        bytes_forward=columns["wirelen"],
        bytes_back=none,
        capture=none,
    )
