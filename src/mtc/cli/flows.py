"""``mtc flows``: what the flows of captures are."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.cli.shared import captures as capture_inputs
from mtc.cli.shared import rows
from mtc.cli.shared.captures import On, OnOption, WorkersOption, captures_among, map_captures
from mtc.cli.shared.rows import Format, choose_format, open_writer, warn
from mtc.errors import MtcError, UsageError
from mtc.files import output_file

if TYPE_CHECKING:
    from mtc.flows import FlowReading
    from mtc.flows.features import Convention
    from mtc.flows.features.writing import FeatureWriter
    from mtc.packets import Selection
    from mtc.parallel import Workers


_SUFFIXES = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
}


def write_features(
    inputs: list[str],
    convention: str,
    *,
    strict: bool,
    decapsulate: bool,
    selection: "Selection",
    chosen: str | None,
    out: Path | None,
    force: bool,
) -> None:
    """Write a row for every flow of captures.

    Args:
        inputs: Files, folders, zip archives, or ``-``.
        convention: Name of the convention.
        strict: Whether packets are read as the original tool reads them.
        decapsulate: Whether tunnels are peeled; ``strict`` peels none.
        selection: Which packets count.
        chosen: csv, parquet or json; None: by the suffix of ``out``, else csv.
        out: The file to write, or None for standard output.
        force: Whether a file that is there is replaced.

    Raises:
        CaptureError: Nothing could be read.
        UsageError: There is no such convention, or the format does not go with the place.
        Exit: With 3, a capture was missing or damaged.
    """
    from mtc.flows.features import convention_named, features_of

    found = convention_named(convention)
    kind = chosen or ("csv" if out is None else _SUFFIXES.get(out.suffix.lower(), ""))
    if kind not in _SUFFIXES.values():
        raise UsageError("--features are written as --format csv, json or parquet")
    if kind == "parquet" and out is None:
        raise UsageError("--format parquet needs --out FILE")
    problems: list[str] = []
    flows = 0
    try:
        with ExitStack() as stack:
            place = stack.enter_context(output_file(out, force=force)) if out is not None else None
            writer = _writer(kind, found, place, stack)
            pieces = features_of(
                captures_among(inputs),
                found,
                problems,
                strict=strict,
                decapsulate=decapsulate,
                selection=selection,
            )
            for source, rows in pieces:
                writer.write(rows, source.name)
                flows += len(rows)
            writer.finish()
    except MtcError:
        _warn(problems)
        raise
    _warn(problems)
    typer.echo(f"{flows:,} flows, features as {found.name}", err=True)
    if problems:
        raise typer.Exit(3)


def _writer(kind: str, convention: "Convention", place: Path | None, stack: ExitStack) -> "FeatureWriter":
    from mtc.flows.features.writing import FeatureCsvWriter, FeatureJsonWriter, FeatureParquetWriter

    if kind == "parquet" and place is not None:
        return FeatureParquetWriter(place, convention)
    file = sys.stdout if place is None else stack.enter_context(place.open("w", encoding="utf-8"))
    return FeatureJsonWriter(file, convention) if kind == "json" else FeatureCsvWriter(file, convention)


def _warn(problems: list[str]) -> None:
    for problem in problems:
        typer.echo(f"mtc: {problem}", err=True)


Inputs = Annotated[
    list[str],
    typer.Argument(metavar="CAPTURE...", help="Captures, folders, zip archives; - is standard input."),
]
Features = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="CONVENTION",
        help="CICFlowMeter's features of every flow: as in cicids2017, as cicflowmeter4 writes them today, "
        "or corrected.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict-convention",
        help="Read packets as the original tool does: IPv4 over Ethernet or raw IP only.",
    ),
]
IdleTimeout = Annotated[
    float | None, typer.Option("--idle-timeout", metavar="S", help="Seconds of silence that end a flow.")
]
ActiveTimeout = Annotated[
    float | None, typer.Option("--active-timeout", metavar="S", help="Seconds after which a flow is cut.")
]
TcpEnd = Annotated[bool, typer.Option("--tcp-end", help="FIN from both sides or RST ends a TCP flow.")]


def flows(
    inputs: Inputs,
    features: Features = None,
    strict: Strict = False,
    names: capture_inputs.Names = True,
    services: capture_inputs.Services = None,
    output_format: rows.FormatOption = None,
    as_json: rows.Json = False,
    out: rows.Out = None,
    force: rows.Force = False,
    sort: rows.SortOption = None,
    limit: rows.Limit = None,
    decapsulate: capture_inputs.Decapsulate = True,
    bpf: capture_inputs.Filter = "",
    start: capture_inputs.From = None,
    end: capture_inputs.To = None,
    drop_duplicates: capture_inputs.DropDuplicates = False,
    idle_timeout_s: IdleTimeout = None,
    active_timeout_s: ActiveTimeout = None,
    tcp_end: TcpEnd = False,
    workers: WorkersOption = None,
    on: OnOption = On.local,
) -> None:
    """List the flows of captures: who talks to whom, over which protocol, under which name.

    [dim]mtc flows capture.pcap[/dim]
    [dim]mtc flows captures/ --format parquet --out flows.parquet --workers 4[/dim]

    With --features, CICFlowMeter's features of every flow.

    [dim]mtc flows capture.pcap --features corrected[/dim]
    """
    if features is not None:
        if sort is not None or limit is not None or idle_timeout_s or active_timeout_s or tcp_end:
            raise UsageError("--sort, --limit and the ends of flows do not go with --features")
        from mtc.packets import Selection

        write_features(
            inputs,
            features,
            strict=strict,
            decapsulate=decapsulate,
            selection=Selection.of(bpf, start, end, drop_duplicates),
            chosen="json" if as_json and output_format is None else output_format,
            out=out,
            force=force,
        )
        return
    if strict:
        raise UsageError("--strict-convention belongs to --features")
    chosen = choose_format(output_format, as_json, out)

    from mtc.flows import FlowReading, FlowSettings
    from mtc.packets import Selection, Selector
    from mtc.parallel import Workers

    selection = Selection.of(bpf, start, end, drop_duplicates)
    Selector(selection)  # a wrong filter is reported before anything is read
    settings = FlowSettings(idle_timeout_s, active_timeout_s, tcp_end)
    reading = FlowReading(names, services, decapsulate, settings, selection)
    _write(inputs, reading, Workers(workers, on.value), chosen, out, force=force, sort=sort, limit=limit)


def _write(
    inputs: list[str],
    reading: "FlowReading",
    workers: "Workers",
    chosen: Format,
    out: Any,
    *,
    force: bool,
    sort: rows.Sort | None,
    limit: int | None,
) -> None:
    from mtc.flows import FLOW_SCHEMA

    problems: list[str] = []
    try:
        with open_writer(
            chosen, out, force=force, schema=FLOW_SCHEMA, table=_table, sort=sort, limit=limit
        ) as writer:
            for row in _rows(inputs, reading, workers, problems):
                writer.write(row)
    except MtcError:
        warn(problems)
        raise
    warn(problems)
    if problems:
        raise typer.Exit(3)


def _rows(
    inputs: list[str], reading: "FlowReading", workers: "Workers", problems: list[str]
) -> Iterator[dict[str, Any]]:
    from mtc.flows import number_flows

    for capture in number_flows(map_captures(reading.read, inputs, workers, "reading"), problems):
        yield from capture


def _table() -> Any:
    from mtc.cli.shared.flow_table import flow_columns
    from mtc.cli.shared.tables import RowTable

    return RowTable(flow_columns())
