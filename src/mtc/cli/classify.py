"""``mtc classify``: verdicts for captures."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from mtc import columns
from mtc.errors import ModelError, MtcError, UsageError
from mtc.tasks import with_vpn

if TYPE_CHECKING:
    from mtc.capture import Source
    from mtc.inference import Classifier
    from mtc.inference.classifier import Progress
    from mtc.inference.verdict_files import Writer
    from mtc.tasks import Tasks

DEFAULT_MODEL = "iscx"
DEFAULT_TABLE_MODEL = "cicids2017"
SHOWN_SKIPPED = 5


class Reading(Protocol):
    """What is known of a file on the way."""

    name: str

    @property
    def bytes_read(self) -> int:
        """Bytes that were read so far."""


class Per(StrEnum):
    """What gets a verdict."""

    flow = "flow"
    packet = "packet"


class Format(StrEnum):
    """How verdicts are written."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


SUFFIXES = {".json": Format.json, ".jsonl": Format.json, ".csv": Format.csv, ".parquet": Format.parquet}


def classify(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Captures or CICFlowMeter tables, folders, zip archives; - is standard input.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A bundled model (see mtc models) or a run folder "
            f"[dim]\\[default: {DEFAULT_MODEL}; for tables {DEFAULT_TABLE_MODEL}][/dim]",
        ),
    ] = None,
    per: Annotated[Per, typer.Option("--per", help="What gets a verdict.")] = Per.flow,
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="[dim]\\[default: by the suffix of --out, else a table][/dim]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write to a file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    reject: Annotated[
        bool, typer.Option("--reject", help="Say unknown below the model's threshold.")
    ] = False,
    decapsulate: Annotated[
        bool, typer.Option("--decapsulate/--no-decapsulate", help="Peel tunnels to the innermost IP packet.")
    ] = True,
) -> None:
    """Give every flow, or every packet that counts, its application and traffic type.

    [dim]mtc classify capture.pcap[/dim]
    [dim]mtc classify captures/ --format json --out verdicts.jsonl[/dim]

    Every row of a table of flow features gets a verdict, of a model that reads those.

    [dim]mtc classify flows.csv[/dim]
    """
    chosen = _format(Format.json if as_json and output_format is None else output_format, out)

    from mtc.inference import Classifier
    from mtc.inference.judging import reject_unsure

    classifier = Classifier.load(_default_model(inputs) if model is None else model)
    if classifier.reads_features:
        from mtc.cli.classify_tables import classify_tables

        classify_tables(classifier, inputs, chosen, out, force=force, reject=reject)
        return
    thresholds = classifier.thresholds(per.value) if reject else {}
    sources, problems = _sources(inputs), list[str]()
    counts = Summary()
    try:
        with (
            open_writer(chosen, out, force, classifier.tasks, per) as writer,
            reading_bar(sum(map(_size, sources))) as progress,
        ):
            for row in _rows(classifier, sources, problems, per, decapsulate, progress, counts):
                reject_unsure(row, thresholds)
                writer.write(row)
                counts.add(row, classifier.tasks)
    except MtcError:
        warn(problems)
        raise
    warn(problems)
    typer.echo(counts.text(per), err=True)
    if problems:
        raise typer.Exit(3)


def _sources(inputs: list[str]) -> "list[Source]":
    """The captures among the inputs; what else is there is told."""
    from mtc.capture import expand_inputs

    skipped: list[str] = []
    sources = list(expand_inputs(inputs, on_skip=lambda name, why: skipped.append(f"{name}: {why}")))
    _tell_skipped(skipped)
    return sources


def _default_model(inputs: list[str]) -> str:
    """The bundled model that fits what the inputs are named like.

    Raises:
        ModelError: They are tables, and no model for those is bundled.
    """
    if not all(_may_hold_tables(name) for name in inputs):
        return DEFAULT_MODEL

    from mtc.datasets.features_sources import hold_tables
    from mtc.inference import bundled_models

    if not hold_tables(inputs):
        return DEFAULT_MODEL
    if DEFAULT_TABLE_MODEL not in bundled_models():
        raise ModelError(
            f"{inputs[0]}: a table of flow features needs a model that reads those, and none is bundled: "
            "give one with --model (mtc train cicids2017-mtc makes one)"
        )
    return DEFAULT_TABLE_MODEL


def _may_hold_tables(name: str) -> bool:
    """Whether an input is worth a closer look, which captures are not to pay for."""
    return Path(name).is_dir() or any(suffix in name.lower() for suffix in (".csv", ".parquet", ".zip"))


def _format(given: Format | None, out: Path | None) -> Format:
    chosen = given or (SUFFIXES.get(out.suffix.lower()) if out is not None else Format.table)
    if chosen is None or (chosen is Format.table and out is not None):
        raise UsageError("--out needs --format json, csv or parquet")
    if chosen is Format.parquet and out is None:
        raise UsageError("--format parquet needs --out FILE")
    return chosen


def _rows(
    classifier: "Classifier",
    sources: list["Source"],
    problems: list[str],
    per: Per,
    decapsulate: bool,
    progress: "Progress",
    counts: "Summary",
) -> Iterator[dict[str, Any]]:
    if per is Per.packet:
        for piece in classifier.classify_packets(
            sources, problems, decapsulate=decapsulate, progress=progress
        ):
            yield from piece
        return
    for capture in classifier.classify_sources(sources, problems, decapsulate=decapsulate, progress=progress):
        counts.packets += capture.packets
        counts.left_out.update(capture.left_out)
        yield from capture


class Summary:
    """What the end of the run tells."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rows = 0
        self.packets = 0
        self.left_out: Counter[str] = Counter()
        self.conflicts: Counter[str] = Counter()
        self.labels: dict[str, Counter[str]] = {}

    def add(self, row: dict[str, Any], tasks: "Tasks") -> None:
        """Count a row."""
        self.rows += 1
        for task in with_vpn(tasks):
            label = "no sample" if row[task] is None else row[task]["label"]
            self.labels.setdefault(task, Counter())[label] += 1
        self.conflicts.update(map("/".join, row[columns.CONFLICT] or ()))

    def text(self, per: "Per | None") -> str:
        """What was classified; ``per`` is None for rows of tables."""
        lines = [f"{self.rows:,} {'rows' if per is None else f'{per}s'} classified"]
        if self.packets:
            left_out = ", ".join(f"{reason} {n:,}" for reason, n in self.left_out.most_common())
            lines[0] += f" from {self.packets:,} packets" + (f" (left out: {left_out})" if left_out else "")
        lines += [
            f"{task}: " + ", ".join(f"{label} {n:,}" for label, n in counts.most_common())
            for task, counts in self.labels.items()
        ]
        if self.conflicts:
            pairs = ", ".join(f"{pair} {n:,}" for pair, n in self.conflicts.most_common())
            lines.append(f"labels that contradict each other: {pairs}")
        return "\n".join(lines)


@contextmanager
def open_writer(
    chosen: Format, out: Path | None, force: bool, tasks: "Tasks", per: Per | None
) -> Iterator["Writer"]:
    """Where rows are written to; ``per`` is None for rows of tables."""
    from mtc.cli.output_file import output_file
    from mtc.cli.verdict_writers import RowTableWriter, TableWriter
    from mtc.inference.verdict_files import CsvWriter, JsonWriter, ParquetWriter

    fields = columns.ROW if per is None else columns.PACKET if per is Per.packet else columns.FLOW
    with ExitStack() as stack:
        place = stack.enter_context(output_file(out, force=force)) if out is not None else None
        writer: Writer
        if chosen is Format.parquet and place is not None:
            writer = ParquetWriter(place, fields, tasks)
        elif chosen is Format.table:
            writer = RowTableWriter(tasks) if per is None else TableWriter(tasks, packets=per is Per.packet)
        else:
            file = sys.stdout if place is None else stack.enter_context(place.open("w", encoding="utf-8"))
            writer = JsonWriter(file) if chosen is Format.json else CsvWriter(file, fields, tasks)
        yield writer
        writer.finish()


@contextmanager
def reading_bar(size: int) -> Iterator[Callable[["Reading"], None]]:
    """A bar on stderr over the bytes of all inputs, ``size`` together, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("classifying"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    done: dict[str, int] = {}

    def show(reader: Reading) -> None:
        done[reader.name] = reader.bytes_read
        bar.update(task, completed=sum(done.values()))

    with bar:
        task = bar.add_task("classifying", total=size or None)
        yield show


def _size(source: "Source") -> int:
    try:
        return source.path.stat().st_size if source.path is not None else 0
    except OSError:
        return 0


def warn(problems: list[str]) -> None:
    """Say on stderr what could not be read."""
    for problem in problems:
        typer.echo(f"mtc: {problem}", err=True)


def _tell_skipped(skipped: list[str]) -> None:
    for line in skipped[:SHOWN_SKIPPED]:
        typer.echo(f"mtc: skipped {line}", err=True)
    if len(skipped) > SHOWN_SKIPPED:
        typer.echo(f"mtc: skipped {len(skipped) - SHOWN_SKIPPED} more files", err=True)
