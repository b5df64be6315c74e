"""``mtc inspect``: what is in a capture."""

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtc.cli.shared import captures as capture_inputs
from mtc.cli.shared.captures import On, OnOption, WorkersOption, map_captures
from mtc.errors import CaptureError, UsageError
from mtc.files import check_output

if TYPE_CHECKING:
    from mtc.flows import CaptureSummary, FlowSettings
    from mtc.parallel import Workers


class FlowFormat(StrEnum):
    """Formats of the flow table."""

    table = "table"
    csv = "csv"
    parquet = "parquet"


def inspect(
    captures: Annotated[
        list[str],
        typer.Argument(help="Files, folders, zip archives; - is standard input.", metavar="CAPTURE..."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    flows: Annotated[bool, typer.Option("--flows", help="Show the flow table.")] = False,
    flow_format: Annotated[
        FlowFormat, typer.Option("--format", help="Format of the flow table.")
    ] = FlowFormat.table,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the flow table to this file (csv, parquet).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    decapsulate: capture_inputs.Decapsulate = True,
    bpf: capture_inputs.Filter = "",
    start: capture_inputs.From = None,
    end: capture_inputs.To = None,
    drop_duplicates: capture_inputs.DropDuplicates = False,
    idle_timeout_s: Annotated[
        float | None, typer.Option("--idle-timeout", help="Seconds of silence that end a flow in --flows.")
    ] = None,
    active_timeout_s: Annotated[
        float | None, typer.Option("--active-timeout", help="Seconds after which --flows cuts a flow.")
    ] = None,
    tcp_end: Annotated[
        bool, typer.Option("--tcp-end", help="FIN from both sides or RST ends a flow in --flows.")
    ] = False,
    workers: WorkersOption = None,
    on: OnOption = On.local,
) -> None:
    """Show what is in captures: format, packets, samples, packets skipped by reason, flows, damage."""
    from mtc.flows import FlowSettings, summarize
    from mtc.packets import Selection, Selector
    from mtc.parallel import Workers

    settings = FlowSettings(idle_timeout_s, active_timeout_s, tcp_end)
    _check(flows, flow_format, out, as_json, force, settings)
    selection = Selection.of(bpf, start, end, drop_duplicates)
    Selector(selection)  # a wrong filter is reported before anything is read
    look = partial(
        summarize,
        decapsulate=decapsulate,
        flow_settings=settings if flows else None,
        selection=None if selection.takes_all else selection,
    )
    summaries, failed = _summarize_all(captures, look, Workers(workers, on.value))
    if flows and flow_format != FlowFormat.table:
        from mtc.cli.inspect.flows import write_csv, write_parquet

        if flow_format == FlowFormat.csv:
            write_csv(summaries, out, force=force)
        elif out is not None:
            write_parquet(summaries, out, force=force)
    if as_json:
        print(json.dumps(_to_dict(summaries, flows and flow_format == FlowFormat.table)))
    elif flow_format == FlowFormat.table or out is not None:
        from mtc.cli.inspect.tables import show

        show(summaries, flows=flows and flow_format == FlowFormat.table)
    damaged = any(summary.damage for summary in summaries)
    if damaged and not any(summary.packets or not summary.damage for summary in summaries):
        raise typer.Exit(2)
    if damaged or failed:
        raise typer.Exit(3)


def _check(
    flows: bool,
    flow_format: FlowFormat,
    out: Path | None,
    as_json: bool,
    force: bool,
    settings: "FlowSettings",
) -> None:
    if not flows and (flow_format != FlowFormat.table or out is not None or settings.ends_flows):
        raise UsageError("--format, --out and the timeouts belong to --flows")
    if out is not None and flow_format == FlowFormat.table:
        raise UsageError("--out needs --format csv or parquet")
    if out is None and flow_format == FlowFormat.parquet:
        raise UsageError("--format parquet needs --out FILE")
    if out is None and flow_format == FlowFormat.csv and as_json:
        raise UsageError("--json and --format csv both want standard output; give --out FILE")
    if out is not None:
        check_output(out, force=force)


def _summarize_all(
    captures: list[str], look: "Callable[..., CaptureSummary]", workers: "Workers"
) -> tuple[list["CaptureSummary"], int]:
    """Summaries of what could be read, and how many inputs could not.

    Raises:
        CaptureError: Nothing could be read from any input.
    """
    summaries: list[CaptureSummary] = []
    errors: list[CaptureError] = []
    for result in map_captures(look, captures, workers, "inspecting"):
        if isinstance(result, CaptureError):
            errors.append(result)
            continue
        summaries.append(result)
        if result.damage:
            print(f"mtc: {result.file}: {result.damage}", file=sys.stderr)
        dropped = "duplicate" in result.left_out
        for note in result.checks.notes(result.packets, result.samples, dropped=dropped):
            print(f"mtc: {result.file}: {note}", file=sys.stderr)
    for error in errors if summaries else errors[:-1]:
        print(f"mtc: {error}", file=sys.stderr)
    if not summaries and errors:
        raise errors[-1]
    return summaries, len(errors)


def _to_dict(summaries: list["CaptureSummary"], flows: bool) -> dict[str, object]:
    from mtc.cli.inspect.flows import flow_rows

    captures = []
    for summary in summaries:
        fields = summary.to_dict()
        if flows:
            fields["flow_table"] = list(flow_rows(summary))
        captures.append(fields)
    left_out: dict[str, int] = {}
    for summary in summaries:
        for reason, n in summary.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + n
    return {
        "captures": captures,
        "packets": sum(summary.packets for summary in summaries),
        "samples": sum(summary.samples for summary in summaries),
        "left_out": left_out,
    }
