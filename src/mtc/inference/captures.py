"""Verdicts on one capture: what is done for each, wherever it is done."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mtc.capture import Source
from mtc.config import Precision
from mtc.flows import FlowRecords, Samples, SampleStream
from mtc.inference.reuse import REMEMBERED, Memory
from mtc.inference.settings import VerdictSettings
from mtc.inference.verdicts import CaptureVerdicts, PacketVerdicts
from mtc.inference.votes import FlowVotes
from mtc.models import LoadedModel, predict_probabilities
from mtc.packets import Mask

Per = Literal["packet", "flow"]


class Reading(Protocol):
    """What is known of a file on the way."""

    @property
    def name(self) -> str:
        """The file as it was given."""

    @property
    def bytes_read(self) -> int:
        """Bytes that were read so far."""


Progress = Callable[[Reading], None]
"""Called from time to time while a capture is read."""


@dataclass(frozen=True, slots=True)
class CaptureEnd:
    """What is known of a capture when it has been read.

    Attributes:
        capture: Its name as given.
        flows: Flows in it.
        packets: Packets read from it.
        samples: Those that are samples.
        judged: Samples that verdicts are made of.
        computed: Samples that were computed: without those that came again.
        left_out: Reason -> packets that are no samples.
        damage: Where and why reading ended early, as a sentence, or None.
    """

    capture: str
    flows: int
    packets: int
    samples: int
    judged: int
    computed: int
    left_out: dict[str, int]
    damage: str | None


Verdicts = CaptureVerdicts | PacketVerdicts


@dataclass(frozen=True, slots=True)
class CaptureJudge:
    """A model and what is asked of it, for capture after capture.

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

    def judge(
        self, source: Source, progress: Progress | None = None
    ) -> Generator[Verdicts, None, CaptureEnd]:
        """Verdicts on a capture; flows are counted from 1.

        Args:
            source: What ``mtc.capture.expand_inputs`` yields.
            progress: Called after each piece.

        Yields:
            The flows at the end of the capture, or its samples piece by piece.

        Raises:
            CaptureError: Nothing can be read from it.
        """
        with self._open(source) as stream:
            steps = self._flows(stream, progress) if self.per == "flow" else self._packets(stream, progress)
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
            )

    def _open(self, source: Source) -> SampleStream:
        settings = self.settings
        return SampleStream(
            source, mask=mask_of(self.model), decapsulate=settings.decapsulate, selection=settings.selection
        )

    def _flows(
        self, stream: SampleStream, progress: Progress | None
    ) -> Generator[CaptureVerdicts, None, tuple[int, int, int]]:
        settings, card = self.settings, self.model.card
        votes = FlowVotes(
            self.model,
            precision=self.precision,
            packets=settings.packets,
            until=settings.until,
            reuse=settings.reuse,
        )
        for piece in stream:
            votes.add(piece.samples, piece.headers["flow"])
            if progress is not None:
                progress(stream.reader)
        flows = stream.flows.records()
        counts, probabilities = votes.result(len(flows))
        judged = votes.judged(len(flows))
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
        return int(counts.sum()), int(judged.sum()), votes.computed

    def _packets(
        self, stream: SampleStream, progress: Progress | None
    ) -> Generator[PacketVerdicts, None, tuple[int, int, int]]:
        memory = Memory(self._logits, limit=REMEMBERED if self.settings.reuse else 0)
        temperatures = self.model.temperatures("packet")
        for piece in stream:
            if len(piece):
                yield PacketVerdicts(
                    capture=stream.reader.name,
                    tasks=_tasks(self.model),
                    packets=_as_flows(stream, piece),
                    numbers=piece.headers["packet"],
                    probabilities=predict_probabilities(
                        memory.logits(piece.samples), temperatures, self.model.absent
                    ),
                    pairs=self.model.card.pairs,
                )
            if progress is not None:
                progress(stream.reader)
        return memory.asked, memory.asked, memory.computed

    def _logits(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return self.model.row_logits(samples, precision=self.precision)


def mask_of(model: LoadedModel) -> Mask:
    """Header fields that a model never sees."""
    return "strict" if model.card.config.data.mask == "strict" else "paper"


def _tasks(model: LoadedModel) -> dict[str, tuple[str, ...]]:
    return {task: tuple(classes) for task, classes in model.card.tasks.items()}


def _as_flows(stream: SampleStream, piece: Samples) -> FlowRecords:
    """One record a sample: a flow of one packet."""
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
