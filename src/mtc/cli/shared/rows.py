"""Writing rows: format, file, order and number, for every command that lists flows."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from mtc.errors import UsageError
from mtc.files import output_file
from mtc.rows import CsvWriter, JsonWriter, ParquetWriter, Row, RowSchema, Writer

_FIELDS = (
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("community_id", "string"),
    ("server_name", "string"),
    ("server_name_by", "string"),
    ("alpn", "vector[string]"),
    ("ja4", "string"),
    ("application", "string"),
    ("application_type", "string"),
)
_SERVICES = {"tls": "ssl", "krb5": "krb", "rfb": "rfb", "dot": "ssl"}
"""Where Zeek calls a protocol otherwise."""


class ZeekWriter(Writer):
    """Tab-separated lines below Zeek's header. Bytes are those on the wire, link layer included."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        names, types = zip(*_FIELDS, strict=True)
        for line in (
            "#separator \\x09",
            "#set_separator\t,",
            "#empty_field\t(empty)",
            "#unset_field\t-",
            "#path\tconn",
            "#fields\t" + "\t".join(names),
            "#types\t" + "\t".join(types),
        ):
            file.write(line + "\n")

    def write(self, row: Row) -> None:
        """Take a flow record of ``mtc flows``."""
        service = row["service"] or {}
        app_proto = row["app_proto"]
        values = (
            f"{row['start']:.6f}",
            _uid(row),
            row["src"],
            row["src_port"],
            row["dst"],
            row["dst_port"],
            row["protocol"],
            _SERVICES.get(app_proto, app_proto),
            f"{row['end'] - row['start']:.6f}",
            row["packets_forward"],
            row["bytes_forward"],
            row["packets_back"],
            row["bytes_back"],
            row["community_id"],
            row["server_name"],
            row["server_name_by"],
            ",".join(row["alpn"] or ()) or None,
            row["ja4"],
            service.get("application"),
            service.get("type"),
        )
        self._file.write("\t".join("-" if value is None else _escaped(str(value)) for value in values) + "\n")


def _uid(row: Row) -> str:
    """An id in Zeek's form, the same whenever the capture is read."""
    text = f"{row['capture']} {row['flow']} {row['community_id']} {row['start']}"
    return "C" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _escaped(text: str) -> str:
    """Zeek writes control characters and its own separators as ``\\xHH``."""
    return "".join(c if c.isprintable() and c != "\\" else f"\\x{ord(c):02x}" for c in text)


SHOWN_ROWS = 100
"""Rows of a table, unless ``--limit`` says otherwise."""


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    zeek = "zeek"


class Sort(StrEnum):
    """What rows are sorted by: largest first, texts and times from the beginning."""

    bytes = "bytes"
    packets = "packets"
    confidence = "confidence"
    flow = "flow"
    start = "start"
    verdict = "verdict"
    name = "name"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="[dim]\\[default: by the suffix of --out, else a table][/dim]"),
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write to a file.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file of --out.")]
SortOption = Annotated[
    Sort | None,
    typer.Option("--sort", help="Order of the rows [dim]\\[default: bytes in tables][/dim]"),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=0,
        metavar="N",
        help=f"Only the first N rows; 0 is all [dim]\\[default: {SHOWN_ROWS} in tables, else all][/dim]",
    ),
]

SUFFIXES = {
    ".json": Format.json,
    ".jsonl": Format.json,
    ".csv": Format.csv,
    ".parquet": Format.parquet,
    ".log": Format.zeek,
}


def choose_format(given: Format | None, as_json: bool, out: Path | None) -> Format:
    """The format requested, or the one that the suffix of ``out`` stands for.

    Raises:
        UsageError: Format and file do not go together.
    """
    given = Format.json if as_json and given is None else given
    chosen = given or (SUFFIXES.get(out.suffix.lower()) if out is not None else Format.table)
    if chosen is None or (chosen is Format.table and out is not None):
        raise UsageError("--out needs --format json, csv, parquet or zeek")
    if chosen is Format.parquet and out is None:
        raise UsageError("--format parquet needs --out FILE")
    return chosen


@contextmanager
def open_writer(
    chosen: Format,
    out: Path | None,
    *,
    force: bool,
    schema: RowSchema,
    table: Callable[[], Writer],
    sort: Sort | None = None,
    table_sort: Sort | None = Sort.bytes,
    limit: int | None = None,
) -> Iterator[Writer]:
    """Where rows are written to.

    Args:
        chosen: The format.
        out: The file, or None for standard output.
        force: Whether a file that is there is replaced.
        schema: The columns of CSV and Parquet.
        table: Makes the writer of tables.
        sort: Order of the rows; None: as they come, in tables ``table_sort``.
        table_sort: Order of the rows of tables.
        limit: Most rows; None: all, in tables ``SHOWN_ROWS``; 0: all.
    """
    with ExitStack() as stack:
        place = stack.enter_context(output_file(out, force=force)) if out is not None else None
        writer: Writer
        if chosen is Format.table:
            writer, sort = table(), sort or table_sort
            limit = SHOWN_ROWS if limit is None else limit
        elif chosen is Format.parquet and place is not None:
            writer = ParquetWriter(place, schema)
        else:
            file = sys.stdout if place is None else stack.enter_context(place.open("w", encoding="utf-8"))
            writer = _text_writer(chosen, file, schema)
        ordered = writer if sort is None and not limit else FirstRows(writer, sort, limit or 0)
        yield ordered
        ordered.finish()
        if isinstance(ordered, FirstRows) and ordered.rows > (ordered.limit or ordered.rows):
            typer.echo(f"mtc: {ordered.limit:,} of {ordered.rows:,} rows; --limit 0 shows all", err=True)


def _text_writer(chosen: Format, file: IO[str], schema: RowSchema) -> Writer:
    if chosen is Format.json:
        return JsonWriter(file)
    return ZeekWriter(file) if chosen is Format.zeek else CsvWriter(file, schema)


class FirstRows(Writer):
    """Passes on the first rows of an order, and holds no more than a few times as many."""

    def __init__(self, writer: Writer, sort: Sort | None, limit: int) -> None:
        self._writer, self._sort, self.limit = writer, sort, limit
        self._held: list[Row] = []
        self.rows = 0

    def write(self, row: Row) -> None:
        """Take a row."""
        self.rows += 1
        if self._sort is None:
            if self.rows <= self.limit:
                self._writer.write(row)
            return
        self._held.append(row)
        if self.limit and len(self._held) >= 4 * self.limit + 1000:
            self._prune()

    def finish(self) -> None:
        """Pass on what is held."""
        self._prune()
        for row in self._held:
            self._writer.write(row)
        self._writer.finish()

    def _prune(self) -> None:
        if self._sort is not None:
            self._held.sort(key=_KEYS[self._sort])  # stable: equal rows stay in their order
        if self.limit:
            del self._held[self.limit :]


def _text(found: Any) -> tuple[bool, str]:
    return found is None, found or ""


_KEYS: dict[Sort, Callable[[Row], Any]] = {
    Sort.bytes: lambda row: -_bytes(row),
    Sort.packets: lambda row: -row["packets"],
    Sort.confidence: lambda row: -((row.get("verdict") or {}).get("confidence") or 0),
    Sort.flow: lambda row: row.get("flow", 0),
    Sort.start: lambda row: row["start"],
    Sort.verdict: lambda row: [_text((row.get("verdict") or {}).get(key)) for key in ("type", "application")],
    Sort.name: lambda row: _text(row.get("server_name") or row.get("host") or row.get("service")),
}


def _bytes(row: Row) -> int:
    total: int = row["bytes_sent"] + row["bytes_received"] if "bytes_sent" in row else row["bytes"]
    return total


def warn(problems: list[str]) -> None:
    """Report on stderr what could not be read."""
    for problem in problems:
        typer.echo(f"mtc: {problem}", err=True)
