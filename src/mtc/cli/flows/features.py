"""``mtc flows --features``: CICFlowMeter's features of every flow."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mtc.cli.shared.captures import captures_among
from mtc.errors import MtcError, UsageError
from mtc.files import output_file
from mtc.flows.features import convention_named, features_of

if TYPE_CHECKING:
    from mtc.flows.features import Convention
    from mtc.flows.features.writing import FeatureWriter
    from mtc.packets import Selection

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
