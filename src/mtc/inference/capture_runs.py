"""Verdicts on many captures: in this process, in several, or on a Ray cluster, in the order given.

Every capture is classified by itself, by the same code with the same batches, so where that is done
changes no verdict. What runs over all captures are the numbers of flows and the lines on what could not
be read.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

from mtc.capture import Source
from mtc.config import Precision
from mtc.errors import CaptureError, UsageError
from mtc.inference.captures import CaptureEnd, CaptureInference, Per, Progress, Verdicts
from mtc.inference.model_registry import find_model
from mtc.inference.settings import VerdictSettings
from mtc.models import LoadedModel, load_model
from mtc.models.engine.threads import thread_count, use_threads
from mtc.parallel import Advance, Workers, ordered_map


class Inference(Protocol):
    """Gives verdicts on capture after capture."""

    def run(self, source: Source, advance: Advance = ...) -> Generator[Verdicts, None, CaptureEnd]:
        """Verdicts on a capture."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything a worker needs to reproduce this process's inference; called with a capture.

    Matrix products add up in another order with another number of threads, so that their last bits
    differ: workers therefore compute with as many as this process.
    """

    model: str
    precision: Precision
    settings: VerdictSettings
    per: Per
    threads: int = field(default_factory=thread_count)

    def __call__(self, source: Source, advance: Advance) -> "CaptureOutcome":
        """Classify a capture in a worker."""
        return classify_whole(_inference(self), source, advance)


@lru_cache(maxsize=1)
def _inference(spec: WorkerSpec) -> Inference:
    """The model of a worker, loaded once."""
    use_threads(spec.threads)
    return inference_of(load_model(find_model(spec.model)), spec.precision, spec.settings, spec.per)


def inference_of(model: LoadedModel, precision: Precision, settings: VerdictSettings, per: Per) -> Inference:
    """What classifies captures with a model: by packets, or by features of whole flows."""
    if model.scaler is None:
        return CaptureInference(model, precision, settings, per)
    from mtc.inference.feature_flows import FeatureInference  # its libraries are of no use to other models

    return FeatureInference(model, precision, settings)


@dataclass(frozen=True, slots=True)
class CaptureOutcome:
    """A whole capture: its verdicts and end, or the error that kept it from being read."""

    pieces: tuple[Verdicts, ...] = ()
    end: CaptureEnd | None = None
    error: str = ""


def classify_whole(
    inference: Inference, source: Source, advance: Advance = lambda done: None
) -> CaptureOutcome:
    """Classify a capture as a whole."""
    pieces: list[Verdicts] = []
    steps = inference.run(source, advance)
    while True:
        try:
            pieces.append(next(steps))
        except StopIteration as stop:
            return CaptureOutcome(tuple(pieces), stop.value)
        except CaptureError as error:
            return CaptureOutcome(error=str(error))


@dataclass(slots=True)
class CaptureRun:
    """Runs inference over captures in order, numbering flows and collecting errors.

    Attributes:
        problems: One line for each capture that could not be read, or not to its end.
        on_end: Called with each capture that was read.
    """

    problems: list[str]
    on_end: Callable[[CaptureEnd], None] | None = None
    _first_flow: int = 1
    _given: int = 0
    _read: int = 0

    def run_here(
        self, inference: Inference, sources: Iterable[Source], progress: Progress | None
    ) -> Iterator[Verdicts]:
        """Classify captures one after the other, holding no more than a piece."""
        for source in sources:
            self._given += 1
            advance = _advance_of(source, progress)
            steps = inference.run(source, advance)
            try:
                while True:
                    yield self._numbered(next(steps))
            except StopIteration as stop:
                self._end(stop.value)
            except CaptureError as error:
                self.problems.append(str(error))
        self._finish()

    def run_in_workers(
        self, spec: WorkerSpec, workers: Workers, sources: Iterable[Source], progress: Progress | None
    ) -> Iterator[Verdicts]:
        """Classify captures in other processes."""
        given = list(sources)
        self._given = len(given)
        for outcome in ordered_map(
            spec,
            given,
            workers,
            progress=progress,
            files=lambda source: () if source.path is None else (source.path,),
            movable=lambda source: source.path is not None,
        ):
            if outcome.end is None:
                self.problems.append(outcome.error)
                continue
            yield from map(self._numbered, outcome.pieces)
            self._end(outcome.end)
        self._finish()

    def _numbered(self, piece: Verdicts) -> Verdicts:
        return replace(piece, first_flow=self._first_flow)

    def _end(self, end: CaptureEnd) -> None:
        self._first_flow += end.flows
        if end.damage is not None:
            self.problems.append(f"{end.capture}: {end.damage}")
        # Damage before the first packet leaves as little as a file that cannot be opened.
        self._read += end.damage is None or end.packets > 0
        if self.on_end is not None:
            self.on_end(end)

    def _finish(self) -> None:
        if not self._given:
            raise UsageError("no capture was given")
        if not self._read:
            raise CaptureError(self.problems.pop())


def _advance_of(source: Source, progress: Progress | None) -> Advance:
    return (lambda done: None) if progress is None else (lambda done: progress(source, done))
