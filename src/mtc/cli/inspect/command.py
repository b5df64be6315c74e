"""``mtc inspect``: what is in a capture."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.cli.shared import captures as capture_inputs
from mtc.cli.shared.captures import On, OnOption, WorkersOption, map_captures
from mtc.errors import CaptureError

if TYPE_CHECKING:
    from mtc.flows import CaptureSummary
    from mtc.parallel import Workers


def inspect(
    captures: Annotated[
        list[str],
        typer.Argument(help="Files, folders, zip archives; - is standard input.", metavar="CAPTURE..."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    decapsulate: capture_inputs.Decapsulate = True,
    bpf: capture_inputs.Filter = "",
    start: capture_inputs.From = None,
    end: capture_inputs.To = None,
    drop_duplicates: capture_inputs.DropDuplicates = False,
    workers: WorkersOption = None,
    on: OnOption = On.local,
) -> None:
    """Show what is in captures: format, times, packets, what is skipped and why, protocols, damage."""
    from mtc.flows import summarize
    from mtc.packets import Selection, Selector
    from mtc.parallel import Workers

    selection = Selection.of(bpf, start, end, drop_duplicates)
    Selector(selection)  # a wrong filter is reported before anything is read
    look = partial(summarize, decapsulate=decapsulate, selection=None if selection.takes_all else selection)
    summaries, failed = _summarize_all(captures, look, Workers(workers, on.value))
    if as_json:
        print(_to_json(summaries))
    else:
        from mtc.cli.inspect.tables import show

        show(summaries)
    damaged = any(summary.damage for summary in summaries)
    if damaged and not any(summary.packets or not summary.damage for summary in summaries):
        raise typer.Exit(2)
    if damaged or failed:
        raise typer.Exit(3)


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


def _to_json(summaries: list["CaptureSummary"]) -> str:
    from mtc.rows import to_json

    left_out: Counter[str] = Counter()
    for summary in summaries:
        left_out.update(summary.left_out)
    totals: dict[str, Any] = {
        "packets": sum(summary.packets for summary in summaries),
        "samples": sum(summary.samples for summary in summaries),
        "left_out": dict(left_out),
    }
    captures = ", ".join(to_json(summary.to_dict()) for summary in summaries)
    return f'{{"captures": [{captures}], ' + json.dumps(totals).removeprefix("{")
