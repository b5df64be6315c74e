"""Output of ``mtc classify``: rows, progress and the summary at the end."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mtc import columns
from mtc.errors import UsageError
from mtc.tasks import Tasks, with_vpn

if TYPE_CHECKING:
    from mtc.inference import CaptureEnd
    from mtc.inference.verdict_files import Writer


class Rows(StrEnum):
    """Unit of a row."""

    flow = "flow"
    packet = "packet"
    row = "row"
    host = "host"


class Format(StrEnum):
    """Output formats."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


SUFFIXES = {".json": Format.json, ".jsonl": Format.json, ".csv": Format.csv, ".parquet": Format.parquet}
_FIELDS = {Rows.flow: columns.FLOW, Rows.packet: columns.PACKET, Rows.row: columns.ROW}


def choose_format(given: Format | None, out: Path | None) -> Format:
    """The requested format, or that the suffix of ``out`` names.

    Raises:
        UsageError: Format and place do not go together.
    """
    chosen = given or (SUFFIXES.get(out.suffix.lower()) if out is not None else Format.table)
    if chosen is None or (chosen is Format.table and out is not None):
        raise UsageError("--out needs --format json, csv or parquet")
    if chosen is Format.parquet and out is None:
        raise UsageError("--format parquet needs --out FILE")
    return chosen


class Summary:
    """Summary of a run of ``mtc classify``."""

    def __init__(self, tasks: Tasks) -> None:
        from mtc.packets.checks import CheckCounts

        self.rows = 0
        self.checks = CheckCounts()
        self._judged = tuple(with_vpn(tasks))
        self.left_out: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.conflicts: Counter[str] = Counter()
        self.labels: dict[str, Counter[str]] = {}
        self.notes: list[str] = []

    def add(self, row: dict[str, Any]) -> None:
        """Count a row."""
        self.rows += 1
        for task in self._judged:
            label = "no sample" if row[task] is None else row[task]["label"]
            self.labels.setdefault(task, Counter())[label] += 1
        self.conflicts.update(map("/".join, row[columns.CONFLICT] or ()))

    def add_end(self, end: "CaptureEnd") -> None:
        """Count a capture that was read."""
        self.left_out.update(end.left_out)
        self.notes += [f"{end.capture}: {note}" for note in end.notes]
        self.checks += end.checks
        self.counts.update(packets=end.packets, samples=end.samples, judged=end.judged, computed=end.computed)

    def text(self, what: Rows) -> str:
        """What was classified, where a verdict is for ``what``."""
        counts = self.counts
        lines = [f"{self.rows:,} {what}s classified"]
        if counts["packets"]:
            left_out = ", ".join(f"{reason} {n:,}" for reason, n in self.left_out.most_common())
            lines[0] += f" from {counts['packets']:,} packets"
            lines[0] += f" (left out: {left_out})" if left_out else ""
            again = counts["judged"] - counts["computed"]
            lines.append(
                f"{counts['judged']:,} of {counts['samples']:,} samples judged"
                + (f", {again:,} of them the same as one before" if again else "")
            )
            lines += self.checks.notes(
                counts["packets"], counts["samples"], dropped="duplicate" in self.left_out
            )
        lines += [
            f"{task}: " + ", ".join(f"{label} {n:,}" for label, n in by_label.most_common())
            for task, by_label in self.labels.items()
        ]
        if self.conflicts:
            pairs = ", ".join(f"{pair} {n:,}" for pair, n in self.conflicts.most_common())
            lines.append(f"labels that contradict each other: {pairs}")
        return "\n".join(lines + self.notes)


@contextmanager
def open_writer(
    chosen: Format, out: Path | None, force: bool, tasks: Tasks, what: Rows
) -> Iterator["Writer"]:
    """Where rows are written to."""
    from mtc.files import output_file

    with ExitStack() as stack:
        place = stack.enter_context(output_file(out, force=force)) if out is not None else None
        writer = _writer(chosen, place, stack, tasks, what)
        yield writer
        writer.finish()


def _writer(chosen: Format, place: Path | None, stack: ExitStack, tasks: Tasks, what: Rows) -> "Writer":
    if chosen is Format.table:
        from mtc.cli.classify.tables import HostTableWriter, RowTableWriter, TableWriter

        if what is Rows.host:
            return HostTableWriter(tasks)
        return RowTableWriter(tasks) if what is Rows.row else TableWriter(tasks, packets=what is Rows.packet)

    from mtc.inference.verdict_files import (
        CsvWriter,
        HostCsvWriter,
        HostParquetWriter,
        JsonWriter,
        ParquetWriter,
    )

    if chosen is Format.parquet and place is not None:
        if what is Rows.host:
            return HostParquetWriter(place, tasks)
        return ParquetWriter(place, _FIELDS[what], tasks)
    file = sys.stdout if place is None else stack.enter_context(place.open("w", encoding="utf-8"))
    if chosen is Format.json:
        return JsonWriter(file)
    return HostCsvWriter(file, tasks) if what is Rows.host else CsvWriter(file, _FIELDS[what], tasks)


def warn(problems: list[str]) -> None:
    """Say on stderr what could not be read."""
    for problem in problems:
        typer.echo(f"mtc: {problem}", err=True)
