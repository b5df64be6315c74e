"""The public face: a model that gives verdicts on samples and on captures."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mtc.capture import Source, expand_inputs
from mtc.config import Precision
from mtc.errors import UsageError
from mtc.flows.sequences import ROW_BYTES
from mtc.inference.capture_runs import CaptureRun, WorkerSpec, inference_of
from mtc.inference.captures import CaptureEnd, Per, Progress, mask_of
from mtc.inference.model_registry import bundled_models, find_model
from mtc.inference.sequence_aggregator import sequence_probabilities
from mtc.inference.settings import VerdictSettings
from mtc.inference.verdicts import CaptureVerdicts, FlowVerdicts, PacketVerdicts
from mtc.models import LoadedModel, load_model, predict_probabilities
from mtc.packets import SAMPLE_LENGTH, Mask, Selection, Selector, mask_samples
from mtc.parallel import Backend, Workers

if TYPE_CHECKING:
    from mtc.datasets.flow_features.sources import TableSource
    from mtc.inference.explain.attribution import Explanation
    from mtc.inference.feature_rows import RowVerdicts, TableProgress, TableVerdicts


class Classifier:
    """A trained model, ready for samples and captures.

    Attributes:
        name: As it was asked for.
        model: The network, its card and its absent classes.
        precision: ``auto``, ``exact`` or ``bf16``.
    """

    def __init__(self, model: LoadedModel, *, name: str = "", precision: Precision = "auto") -> None:
        if precision not in get_args(Precision):
            raise UsageError(f"precision must be auto, exact or bf16, not {precision!r}")
        self.name = name
        self.model = model
        self.precision: Precision = precision

    @classmethod
    def load(cls, name_or_path: str | Path = "iscx", *, precision: Precision = "auto") -> Self:
        """Load a model.

        Args:
            name_or_path: A bundled name (see ``mtc models``) or a run folder.
            precision: See ``mtc.models.predict_logits``.

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
        return mask_of(self.model)

    @property
    def reads_features(self) -> bool:
        """Whether the model reads features of flows, and not packets."""
        return self.model.scaler is not None

    @property
    def reads_flows(self) -> bool:
        """Whether the model reads sequences of flows, and not single packets."""
        return self.model.card.config.model.reads_flows

    def tasks_without_threshold(self, per: Literal["packet", "flow"]) -> tuple[str, ...]:
        """Tasks whose labels are never rejected, because the model stores no threshold for them."""
        return tuple(task for task in self.tasks if per not in self.model.card.reject.get(task, {}))

    def predict(self, samples: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Calibrated probabilities of packets, or of flow features where the model reads those.

        Args:
            samples: uint8 (N, 1500), as ``mtc.read_samples`` gives them; the model's own mask is applied
                to a copy. For a model of flow sequences uint8 (N, 396), as ``mtc.flows`` reads them
                (``mtc.flows.stream.read_sequences``). For a model of flow features float (N, 78), in
                CICFlowMeter's order; NaN
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
        width = ROW_BYTES if self.reads_flows else SAMPLE_LENGTH
        if samples.dtype != np.uint8 or samples.ndim != 2 or samples.shape[1] != width:
            raise UsageError(f"samples must be uint8 (N, {width}), not {samples.dtype} {samples.shape}")
        if self.reads_flows:
            return sequence_probabilities(self.model, np.ascontiguousarray(samples), self.precision)
        return self._probabilities(mask_samples(samples, self.mask))

    def explain(
        self, samples: NDArray[np.uint8], task: str | None = None, label: str | None = None
    ) -> "list[Explanation]":
        """Explain the verdicts on packets, see ``mtc.inference.explain.attribution.explain``."""
        from mtc.inference.explain.attribution import explain  # slow to import

        return explain(self.model, samples, task, label)

    def classify(
        self,
        *inputs: str | Path,
        decapsulate: bool = True,
        packets: int | None = None,
        early: float | None = None,
        reject: bool = True,
        names: bool = True,
        services: str | Path | None = None,
        ndpi: bool = False,
        bpf: str = "",
        start: str | float | datetime | None = None,
        end: str | float | datetime | None = None,
        reuse: bool = True,
        workers: int | None = None,
        on: Backend = "local",
    ) -> "FlowVerdicts | TableVerdicts":
        """Verdicts on the flows of captures, or on the rows of tables of flow features.

        All but ``inputs`` and ``reject`` is for captures only.

        Args:
            inputs: Files, folders, zip archives, or ``-`` for standard input.
            decapsulate: Whether tunnels are peeled down to the innermost IP packet.
            packets: First packets of a flow, of those that carry information, that its verdict is made
                of; None for as many as the model is calibrated for.
            early: Confidence of every task at which no more packets of a flow are computed.
            reject: Whether labels below the model's threshold are ``unknown``.
            names: Whether names of servers are read from handshakes and DNS answers.
            services: A table of services (CSV) beside the package's own.
            ndpi: Whether nDPI gives its opinion on flows that say nothing of their service (extra ``ndpi``).
            bpf: A filter as for tcpdump; packets that do not pass are counted, and not looked at.
            start: Time of the first packet that counts: Unix seconds, ISO 8601 (UTC if it has no zone),
                or a datetime.
            end: Time of the first packet after the last that counts.
            reuse: Whether samples that are the same byte by byte are computed once within a capture.
            workers: Captures classified at a time, in processes of their own; None for one, in this process.
            on: ``local``, or ``ray`` for the workers of a Ray cluster.

        Returns:
            The verdicts; ``problems`` lists what could not be read where something else could.

        Raises:
            CaptureError: Nothing could be read from any input.
            DatasetError: The same, where the model reads flow features.
            UsageError: No input was given, the model does not read what it is for, or a setting is wrong.
        """
        problems: list[str] = []
        if self.reads_features and _hold_tables(inputs):
            from mtc.datasets.flow_features.sources import find_tables
            from mtc.inference.feature_rows import TableVerdicts

            notes: list[str] = []
            pieces = tuple(self.classify_tables(find_tables(inputs), problems, reject=reject, notes=notes))
            return TableVerdicts(self.tasks, pieces, (*problems, *notes))
        settings = VerdictSettings(
            packets,
            early,
            reuse,
            decapsulate,
            Selection.of(bpf, start, end),
            reject,
            names,
            None if services is None else Path(services),
            ndpi,
        )
        captures = tuple(
            self.classify_sources(
                expand_inputs(inputs), problems, settings=settings, workers=Workers(workers, on)
            )
        )
        return FlowVerdicts(self.tasks, captures, tuple(problems))

    def classify_sources(
        self,
        sources: Iterable[Source],
        problems: list[str],
        *,
        settings: VerdictSettings | None = None,
        workers: Workers | None = None,
        progress: Progress | None = None,
        on_end: Callable[[CaptureEnd], None] | None = None,
    ) -> Iterator[CaptureVerdicts]:
        """Verdicts capture by capture, so that only one of them is held at a time.

        Flows are separate within a capture; their numbers go on from one capture to the next.

        Args:
            sources: What ``mtc.capture.expand_inputs`` yields.
            problems: One line is appended for each capture that cannot be read, or not to its end.
            settings: What decides the verdicts.
            workers: Where captures are classified; it changes no verdict.
            progress: Called after each batch; with several workers, after each capture.
            on_end: Called with each capture that was read.

        Raises:
            CaptureError: Nothing could be read from any source; ``problems`` then holds the lines for
                all sources but the one that the error itself names.
            UsageError: There is no source, the model reads no packets, or the filter is wrong.
        """
        pieces = self._run("flow", sources, CaptureRun(problems, on_end), settings, workers, progress)
        return cast("Iterator[CaptureVerdicts]", pieces)

    def classify_packets(
        self,
        sources: Iterable[Source],
        problems: list[str],
        *,
        settings: VerdictSettings | None = None,
        workers: Workers | None = None,
        progress: Progress | None = None,
        on_end: Callable[[CaptureEnd], None] | None = None,
    ) -> Iterator[PacketVerdicts]:
        """Verdicts on every sample, batch by batch; arguments and errors as in ``classify_sources``."""
        pieces = self._run("packet", sources, CaptureRun(problems, on_end), settings, workers, progress)
        return cast("Iterator[PacketVerdicts]", pieces)

    def classify_tables(
        self,
        sources: "Iterable[TableSource]",
        problems: list[str],
        *,
        reject: bool = True,
        progress: "TableProgress | None" = None,
        notes: list[str] | None = None,
    ) -> "Iterator[RowVerdicts]":
        """Verdicts on every row of tables, see ``mtc.inference.feature_rows.classify_rows``."""
        if not self.reads_features:
            raise UsageError(f"model {self.name}: reads packets, not flow features")
        from mtc.inference.feature_rows import classify_rows

        return classify_rows(
            self.model,
            sources,
            problems,
            precision=self.precision,
            reject=reject,
            progress=progress,
            notes=notes,
        )

    def _run(
        self,
        per: Per,
        sources: Iterable[Source],
        run: CaptureRun,
        settings: VerdictSettings | None,
        workers: Workers | None,
        progress: Progress | None,
    ) -> Iterator[CaptureVerdicts | PacketVerdicts]:
        if self.reads_features and per == "packet":
            raise UsageError(f"model {self.name}: reads features of whole flows, and no single packet")
        if self.reads_flows and per == "packet":
            raise UsageError(f"model {self.name}: classifies flows, not single packets")
        if not self.reads_features:
            self._check_reads_packets()
        settings, workers = settings or VerdictSettings(), workers or Workers()
        Selector(settings.selection)  # a wrong filter is reported before anything is read
        if workers.here:
            inference = inference_of(self.model, self.precision, settings, per)
            return run.run_here(inference, sources, progress)
        if not self.name:
            raise UsageError("other processes need a model that was loaded by its name or folder")
        name = self.name if self.name in bundled_models() else str(Path(self.name).absolute())
        spec = WorkerSpec(name, self.precision, settings, per)
        return run.run_in_workers(spec, workers, sources, progress)

    def _probabilities(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Of samples that are masked already."""
        if not len(samples):
            return {task: np.empty((0, len(c)), np.float32) for task, c in self.tasks.items()}
        logits = self.model.row_logits(np.ascontiguousarray(samples), precision=self.precision)
        return predict_probabilities(logits, self.model.temperatures("packet"), self.model.absent)

    def _check_reads_packets(self) -> None:
        length = self.model.card.config.model.length
        if self.reads_features or length != SAMPLE_LENGTH:
            raise UsageError(
                f"model {self.name}: reads {length} values a flow, not packets of {SAMPLE_LENGTH} bytes"
            )


def _hold_tables(inputs: Iterable[str | Path]) -> bool:
    from mtc.datasets.flow_features.sources import hold_tables

    return hold_tables(inputs)
