"""Verdicts on many captures: here, in several processes, or on a Ray cluster, in the order given.

Every capture is judged by itself, by the same code with the same batches, so where it is done changes no
verdict. What is put in order here are the numbers of flows, which go on from one capture to the next,
and the lines on what could not be read.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from mtc.capture import Source
from mtc.errors import CaptureError, UsageError
from mtc.inference.captures import CaptureEnd, CaptureJudge, Progress, Verdicts

On = Literal["local", "ray"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where captures are judged.

    Attributes:
        on: ``local`` or ``ray``.
        workers: Captures that are judged at a time. None is one, in this process; on Ray, as many as the
            cluster has cores.
    """

    on: On = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.on not in get_args(On):
            raise UsageError(f"captures are judged on {' or '.join(get_args(On))}, not on {self.on!r}")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"at least 1 worker is needed, not {self.workers}")


@dataclass(frozen=True, slots=True)
class Judged:
    """A capture that was judged as a whole, elsewhere."""

    pieces: list[Verdicts]
    end: CaptureEnd


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A capture of which nothing could be read."""

    reason: str


Outcome = Judged | Unreadable
Elsewhere = Callable[[list[Source], Progress | None], Iterator[Outcome]]
"""Judges captures in other processes: an outcome for each, in their order."""


@dataclass(slots=True)
class Course:
    """How judging many captures goes.

    Attributes:
        problems: One line for each capture that could not be read, or not to its end.
        on_end: Told of each capture that was read.
    """

    problems: list[str]
    on_end: Callable[[CaptureEnd], None] | None = None
    _first_flow: int = 1
    _given: int = 0
    _read: int = field(default=0)

    def run_here(
        self, judge: CaptureJudge, sources: Iterable[Source], progress: Progress | None
    ) -> Iterator[Verdicts]:
        """Judge captures one after the other, holding no more than a piece."""
        for source in sources:
            self._given += 1
            steps = judge.judge(source, progress)
            try:
                while True:
                    yield self._numbered(next(steps))
            except StopIteration as stop:
                self._end(stop.value)
            except CaptureError as error:
                self.problems.append(str(error))
        self._finish()

    def run_elsewhere(
        self, run: Elsewhere, sources: Iterable[Source], progress: Progress | None
    ) -> Iterator[Verdicts]:
        """Take in what others judge."""
        given = list(sources)
        self._given = len(given)
        for outcome in run(given, progress):
            if isinstance(outcome, Unreadable):
                self.problems.append(outcome.reason)
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


def outcome_of(judge: CaptureJudge, source: Source) -> Outcome:
    """Judge a capture as a whole."""
    pieces: list[Verdicts] = []
    steps = judge.judge(source)
    while True:
        try:
            pieces.append(next(steps))
        except StopIteration as stop:
            return Judged(pieces, stop.value)
        except CaptureError as error:
            return Unreadable(str(error))
