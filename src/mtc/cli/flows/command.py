"""``mtc flows``: what the flows of captures are."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.cli.shared import captures as capture_inputs
from mtc.cli.shared import rows
from mtc.cli.shared.captures import On, OnOption, WorkersOption, map_captures
from mtc.cli.shared.rows import Format, choose_format, open_writer, warn
from mtc.errors import MtcError, UsageError

if TYPE_CHECKING:
    from mtc.flows import FlowReading
    from mtc.parallel import Workers

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
        from mtc.cli.flows.features import write_features

        chosen = "json" if as_json and output_format is None else output_format
        write_features(inputs, features, strict=strict, chosen=chosen, out=out, force=force)
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
