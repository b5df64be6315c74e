"""Verdict rows as tables for people, on standard output."""

import os
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtc.columns import CONFLICT
from mtc.inference.verdict_files import Row, Writer
from mtc.tasks import Tasks, with_vpn

SHOWN_ROWS = 1000
"""Most rows of a table; it has to be held as a whole to know how wide its columns are."""

PIPED_WIDTH = 200
"""Characters a line of a table that goes to no terminal."""

SHOWN_LABELS = 3
"""Most labels of a task that a host's row shows."""

MARK = "!"
LEGEND = f"{MARK} labels that never stood together in the training data: doubt at least one of them"


class TableWriter(Writer):
    """A table for people, on standard output."""

    def __init__(self, tasks: Tasks, *, packets: bool) -> None:
        self._judged = with_vpn(tasks)
        self._packets = packets
        self._rows = self._conflicts = 0
        self._table = Table()
        for name in ("flow", "packet") if packets else ("flow",):
            self._table.add_column(name, justify="right")
        for name in ("protocol", "source", "destination"):
            self._table.add_column(name, no_wrap=True)
        for name in ("bytes",) if packets else ("packets", "samples"):
            self._table.add_column(name, justify="right")
        for task in self._judged:
            self._table.add_column(task, no_wrap=True)

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows += 1
        if self._rows > SHOWN_ROWS:
            return
        self._conflicts += row[CONFLICT] is not None
        numbers = ("flow", "packet") if self._packets else ("flow",)
        sizes = ("bytes",) if self._packets else ("packets", "samples")
        self._table.add_row(
            *(f"{row[name]}" for name in numbers),
            row["protocol"],
            endpoint(row["src"], row["src_port"]),
            endpoint(row["dst"], row["dst_port"]),
            *(f"{row[name]:,}" for name in sizes),
            *briefly(row, self._judged),
        )

    def finish(self) -> None:
        """Print the table."""
        _print_table(self._table, self._rows, "rows", conflicts=self._conflicts > 0)


class RowTableWriter(Writer):
    """Rows of tables of flow features, as a table for people, on standard output."""

    def __init__(self, tasks: Tasks) -> None:
        self._judged = with_vpn(tasks)
        self._rows = self._conflicts = 0
        self._table = Table()
        self._table.add_column("table", no_wrap=True)
        self._table.add_column("row", justify="right")
        for task in self._judged:
            self._table.add_column(task, no_wrap=True)

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows += 1
        if self._rows <= SHOWN_ROWS:
            self._conflicts += row[CONFLICT] is not None
            verdicts = briefly(row, self._judged, nothing="[dim]unreadable[/dim]")
            self._table.add_row(escape(row["capture"]), f"{row['row']:,}", *verdicts)

    def finish(self) -> None:
        """Print the table."""
        _print_table(self._table, self._rows, "rows", conflicts=self._conflicts > 0)


class HostTableWriter(Writer):
    """Hosts as a table for people, on standard output: of each task the labels with most bytes."""

    def __init__(self, tasks: Tasks) -> None:
        self._judged = with_vpn(tasks)
        self._rows = 0
        self._table = Table()
        self._table.add_column("host", no_wrap=True)
        for name in ("flows", "packets", "sent", "received"):
            self._table.add_column(name, justify="right")
        for task in self._judged:
            self._table.add_column(f"{task}, share of bytes")

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows += 1
        if self._rows <= SHOWN_ROWS:
            sizes = (f"{row[name]:,}" for name in ("flows", "packets", "bytes_sent", "bytes_received"))
            self._table.add_row(row["host"], *sizes, *(shares(row[task]["bytes"]) for task in self._judged))

    def finish(self) -> None:
        """Print the table."""
        _print_table(self._table, self._rows, "hosts")


def _print_table(table: Table, rows: int, what: str, *, conflicts: bool = False) -> None:
    """Print a table of the first of ``rows``, and what there is to know of it."""
    console = stdout_console()
    console.print(table)
    if conflicts:
        console.print(LEGEND)
    if rows > SHOWN_ROWS:
        console.print(f"{SHOWN_ROWS:,} of {rows:,} {what}; --format json, csv or parquet gives all")


def shares(counts: Mapping[str, int]) -> str:
    """The labels with most bytes, and their shares."""
    total = sum(counts.values()) or 1
    first = list(counts.items())[:SHOWN_LABELS]
    text = ", ".join(f"{escape(label)} [dim]{n / total:.0%}[/dim]" for label, n in first)
    return text + (f" [dim]+{len(counts) - len(first)}[/dim]" if len(counts) > len(first) else "")


def endpoint(address: str, port: int) -> str:
    """Address and port as text."""
    return f"[{address}]:{port}".replace("[", "\\[") if ":" in address else f"{address}:{port}"


def briefly(row: Row, judged: Tasks, nothing: str = "[dim]no sample[/dim]") -> Iterator[str]:
    """The verdicts of a row as text: label and confidence, and a mark where labels contradict.

    Args:
        row: A row of ``mtc.inference``.
        judged: All tasks of the row.
        nothing: What stands where there is no verdict.
    """
    contradict = {task for pair in row[CONFLICT] or () for task in pair}
    for task in judged:
        found = row[task]
        mark = f"[yellow]{MARK}[/yellow]" if task in contradict else ""
        yield nothing if found is None else f"{escape(found['label'])}{mark} [dim]{found['confidence']:.2f}"


def stdout_console() -> Console:
    """Standard output, wide enough for tables where it is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console
