"""Verdicts on one capture."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtc.capture import Source
from mtc.config import Precision
from mtc.flows import FlowRecords, Samples, SampleStream
from mtc.inference.logit_cache import CACHED_SAMPLES, LogitCache
from mtc.inference.sequence_aggregator import aggregator_for
from mtc.inference.settings import VerdictSettings
from mtc.inference.verdicts import CaptureVerdicts, PacketVerdicts
from mtc.models import LoadedModel, predict_probabilities
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
    left_out: dict[str, int]
    damage: str | None
    notes: tuple[str, ...] = ()
    checks: CheckCounts = field(default_factory=CheckCounts)


Verdicts = CaptureVerdicts | PacketVerdicts


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
            steps = self._flows(stream, advance) if self.per == "flow" else self._packets(stream, advance)
            samples, judged, computed = yield from steps
            return CaptureEnd(
                capture=stream.reader.name,
                flows=len(stream.flows),
                packets=stream.packets,
                samples=samples,
                judged=judged,
                computed=computed,
                left_out=dict(stream.left_out),
                damage=None if stream.damage is None else str(stream.damage),
                checks=stream.checks.counts,
            )

    def _open(self, source: Source) -> SampleStream:
        settings = self.settings
        return SampleStream(
            source,
            mask=mask_of(self.model),
            decapsulate=settings.decapsulate,
            selection=settings.selection,
            sequences=self.model.card.config.model.reads_flows,
        )

    def _flows(
        self, stream: SampleStream, advance: Advance
    ) -> Generator[CaptureVerdicts, None, tuple[int, int, int]]:
        settings, card = self.settings, self.model.card
        aggregator = aggregator_for(
            self.model,
            precision=self.precision,
            packets=settings.packets,
            until=settings.until,
            reuse=settings.reuse,
        )
        for piece in _reported(stream, advance):
            aggregator.add(piece.samples, piece.headers["flow"])
        flows = stream.flows.records()
        counts, judged, probabilities = aggregator.result(len(flows))
        yield CaptureVerdicts(
            capture=stream.reader.name,
            tasks=_tasks(self.model),
            flows=flows,
            samples=counts,
            probabilities=probabilities,
            packets=stream.packets,
            left_out=dict(stream.left_out),
            damage=None if stream.damage is None else str(stream.damage),
            pairs=card.pairs,
        )
        return int(counts.sum()), int(judged.sum()), aggregator.computed

    def _packets(
        self, stream: SampleStream, advance: Advance
    ) -> Generator[PacketVerdicts, None, tuple[int, int, int]]:
        cache = LogitCache(self._logits, limit=CACHED_SAMPLES if self.settings.reuse else 0)
        temperatures = self.model.temperatures("packet")
        for piece in _reported(stream, advance):
            if len(piece):
                yield PacketVerdicts(
                    capture=stream.reader.name,
                    tasks=_tasks(self.model),
                    packets=_as_flows(stream, piece),
                    numbers=piece.headers["packet"],
                    probabilities=predict_probabilities(
                        cache.logits(piece.samples), temperatures, self.model.absent
                    ),
                    pairs=self.model.card.pairs,
                )
        return cache.requested, cache.requested, cache.computed

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
