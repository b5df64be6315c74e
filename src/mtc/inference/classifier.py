"""The public face: a model that gives verdicts on samples and on captures."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mtc.capture import CaptureReader, Source, expand_inputs
from mtc.errors import CaptureError, UsageError
from mtc.inference.shelf import find_model
from mtc.inference.verdicts import CaptureVerdicts, FlowVerdicts, PacketVerdicts
from mtc.inference.votes import FlowVotes
from mtc.models import LoadedModel, load_model, predict_logits, predict_probabilities
from mtc.models.predict import Precision
from mtc.packets import SAMPLE_LENGTH, FlowRecords, Mask, Samples, SampleStream, mask_samples

if TYPE_CHECKING:
    from mtc.datasets.features_sources import TableSource
    from mtc.inference.feature_rows import RowVerdicts, TableProgress, TableVerdicts

Progress = Callable[[CaptureReader], None]
"""Called from time to time while a capture is read."""


class Classifier:
    """A trained model, ready for samples and captures.

    Attributes:
        name: As it was asked for.
        model: The network, its card and its absent classes.
        precision: ``auto`` or ``exact``.
    """

    def __init__(self, model: LoadedModel, *, name: str = "", precision: Precision = "auto") -> None:
        """Use a model that is already loaded; ``Classifier.load`` is the usual way."""
        if precision not in ("auto", "exact"):
            raise UsageError(f"precision must be auto or exact, not {precision!r}")
        self.name = name
        self.model = model
        self.precision: Precision = precision

    @classmethod
    def load(cls, name_or_path: str | Path = "iscx", *, precision: Precision = "auto") -> Self:
        """Load a model.

        Args:
            name_or_path: A bundled name (see ``mtc models``) or a run folder.
            precision: ``exact`` computes in fp32; ``auto`` in the fastest mode that gives at least
                99.9 % equal top classes.

        Raises:
            ModelError: There is no such model, or it is damaged or of another version.
        """
        return cls(load_model(find_model(name_or_path)), name=str(name_or_path), precision=precision)

    @property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        """Task -> its labels, in the order of the probabilities."""
        return {task: tuple(classes) for task, classes in self.model.card.tasks.items()}

    @property
    def mask(self) -> Mask:
        """Header fields that the model never sees."""
        mask: Mask = "strict" if self.model.card.config.data.mask == "strict" else "paper"
        return mask

    @property
    def reads_features(self) -> bool:
        """Whether the model reads features of flows, and not packets."""
        return self.model.scaler is not None

    def thresholds(self, per: Literal["packet", "flow"]) -> dict[str, float]:
        """Task -> confidence below which a verdict is unknown, of packets (and rows) or of flows.

        Raises:
            UsageError: The model has none, or compares something else than the confidence.
        """
        stored = {task: kinds[per] for task, kinds in self.model.card.reject.items()}
        if set(stored) != set(self.tasks):
            raise UsageError(f"--reject needs a model with a stored threshold, which {self.name} has not")
        if energy := [task for task, found in stored.items() if found["score"] != "probability"]:
            raise UsageError(
                f"--reject needs thresholds of the confidence; {self.name} has one of the energy for "
                f"{', '.join(energy)}"
            )
        return {task: float(found["threshold"]) for task, found in stored.items()}

    def predict(self, samples: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Calibrated probabilities of packets, or of flow features where the model reads those.

        Args:
            samples: uint8 (N, 1500), as ``mtc.read_samples`` gives them; the model's own mask is applied
                to a copy. For a model of flow features float (N, 78), in CICFlowMeter's order; NaN
                counts as 0, Infinity as the training maximum.

        Returns:
            Task -> float32 (N, classes); classes without training samples have probability 0.

        Raises:
            UsageError: The array has another shape or type than the model reads.
        """
        if self.reads_features:
            from mtc.inference.feature_rows import feature_probabilities  # slow to import

            return feature_probabilities(self.model, samples, self.precision)
        self._check_reads_packets()
        samples = np.asarray(samples)
        if samples.dtype != np.uint8 or samples.ndim != 2 or samples.shape[1] != SAMPLE_LENGTH:
            raise UsageError(
                f"samples must be uint8 (N, {SAMPLE_LENGTH}), not {samples.dtype} {samples.shape}"
            )
        return self._probabilities(mask_samples(samples, self.mask))

    def classify(self, *inputs: str | Path, decapsulate: bool = True) -> "FlowVerdicts | TableVerdicts":
        """Verdicts on the flows of captures, or on the rows of tables of flow features.

        Args:
            inputs: Files, folders, zip archives, or ``-`` for standard input.
            decapsulate: Whether tunnels are peeled down to the innermost IP packet.

        Returns:
            The verdicts; ``problems`` tells what could not be read where something else could.

        Raises:
            CaptureError: Nothing could be read from any input.
            DatasetError: The same, where the model reads flow features.
            UsageError: No input was given, or the model does not read what it is for.
        """
        problems: list[str] = []
        if self.reads_features:
            from mtc.datasets.features_sources import find_tables
            from mtc.inference.feature_rows import TableVerdicts

            pieces = tuple(self.classify_tables(find_tables(inputs), problems))
            return TableVerdicts(self.tasks, pieces, tuple(problems))
        sources = list(expand_inputs(inputs))
        captures = tuple(self.classify_sources(sources, problems, decapsulate=decapsulate))
        return FlowVerdicts(self.tasks, captures, tuple(problems))

    def classify_sources(
        self,
        sources: Iterable[Source],
        problems: list[str],
        *,
        decapsulate: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[CaptureVerdicts]:
        """Verdicts capture by capture, so that only one of them is held at a time.

        Flows are told apart within a capture; their numbers go on from one capture to the next.

        Args:
            sources: What ``mtc.capture.expand_inputs`` yields.
            problems: One line is appended for each capture that cannot be read, or not to its end.
            decapsulate: Whether tunnels are peeled.
            progress: Called after each batch.

        Raises:
            CaptureError: Nothing could be read from any source; ``problems`` then holds the lines for
                all sources but the one that the error itself tells.
            UsageError: There is no source, or the model reads no packets.
        """
        first_flow = 1
        for stream in self._streams(sources, problems, decapsulate):
            votes = FlowVotes(self.model, precision=self.precision)
            for piece in stream:
                votes.add(piece.samples, piece.headers["flow"])
                if progress is not None:
                    progress(stream.reader)
            flows = stream.flows.records()
            counts, probabilities = votes.result(len(flows))
            damage = None if stream.damage is None else str(stream.damage)
            yield CaptureVerdicts(
                capture=stream.reader.name,
                tasks=self.tasks,
                flows=flows,
                samples=counts,
                probabilities=probabilities,
                packets=stream.packets,
                left_out=dict(stream.left_out),
                damage=damage,
                first_flow=first_flow,
                pairs=self.model.card.pairs,
            )
            first_flow += len(flows)

    def classify_packets(
        self,
        sources: Iterable[Source],
        problems: list[str],
        *,
        decapsulate: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[PacketVerdicts]:
        """Verdicts on every sample, batch by batch; arguments and errors as in ``classify_sources``."""
        first_flow = 1
        for stream in self._streams(sources, problems, decapsulate):
            for piece in stream:
                if len(piece):
                    yield self._packet_verdicts(stream, piece, first_flow)
                if progress is not None:
                    progress(stream.reader)
            first_flow += len(stream.flows)

    def classify_tables(
        self,
        sources: "Iterable[TableSource]",
        problems: list[str],
        *,
        progress: "TableProgress | None" = None,
    ) -> "Iterator[RowVerdicts]":
        """Verdicts on every row of tables, see ``mtc.inference.feature_rows.classify_rows``."""
        if not self.reads_features:
            raise UsageError(f"model {self.name}: reads packets, not flow features")
        from mtc.inference.feature_rows import classify_rows

        return classify_rows(self.model, sources, problems, precision=self.precision, progress=progress)

    def _packet_verdicts(self, stream: SampleStream, piece: Samples, first_flow: int) -> PacketVerdicts:
        return PacketVerdicts(
            capture=stream.reader.name,
            tasks=self.tasks,
            packets=_as_flows(stream, piece),
            numbers=piece.headers["packet"],
            probabilities=self._probabilities(piece.samples),
            first_flow=first_flow,
            pairs=self.model.card.pairs,
        )

    def _streams(
        self, sources: Iterable[Source], problems: list[str], decapsulate: bool
    ) -> Iterator[SampleStream]:
        """Open streams, one after the other; each is read by the caller before the next is opened."""
        self._check_reads_packets()
        given = read = 0
        for source in sources:
            given += 1
            try:
                stream = SampleStream(source, mask=self.mask, decapsulate=decapsulate)
            except CaptureError as error:
                problems.append(str(error))
                continue
            with stream:
                yield stream
            if stream.damage is not None:
                problems.append(f"{stream.reader.name}: {stream.damage}")
            # Damage before the first packet leaves as little as a file that cannot be opened.
            read += stream.damage is None or stream.packets > 0
        if not given:
            raise UsageError("no capture was given")
        if not read:
            raise CaptureError(problems.pop())

    def _probabilities(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Of samples that are masked already."""
        if not len(samples):
            return {task: np.empty((0, len(c)), np.float32) for task, c in self.tasks.items()}
        offsets = np.arange(len(samples) + 1) * SAMPLE_LENGTH
        data = np.ascontiguousarray(samples).reshape(-1)
        logits = predict_logits(self.model.network, data, offsets, precision=self.precision)
        return predict_probabilities(logits, self.model.temperatures("packet"), self.model.absent)

    def _check_reads_packets(self) -> None:
        length = self.model.card.config.model.length
        if self.reads_features or length != SAMPLE_LENGTH:
            raise UsageError(
                f"model {self.name}: reads {length} values a flow, not packets of {SAMPLE_LENGTH} bytes"
            )


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
