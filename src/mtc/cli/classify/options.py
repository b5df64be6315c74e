"""The options of ``mtc classify``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mtc.cli.classify.output import Format
from mtc.cli.shared import captures as capture_inputs

DEFAULT_MODEL = "iscx"
DEFAULT_TABLE_MODEL = "cicids2017"


class Per(StrEnum):
    """Units that get a verdict."""

    flow = "flow"
    packet = "packet"


class By(StrEnum):
    """Groups that verdicts on flows are summed up for."""

    host = "host"


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Captures or CICFlowMeter tables, folders, zip archives; - is standard input.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A bundled model (see mtc models) or a run folder "
        f"[dim]\\[default: {DEFAULT_MODEL}; for tables {DEFAULT_TABLE_MODEL}][/dim]",
    ),
]
PerOption = Annotated[Per, typer.Option("--per", help="What gets a verdict.")]
ByOption = Annotated[
    By | None, typer.Option("--by", help="Sum up who talks what: one row per host instead of one per flow.")
]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="[dim]\\[default: by the suffix of --out, else a table][/dim]"),
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write to a file.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file of --out.")]
Reject = Annotated[bool, typer.Option("--reject", help="Say unknown below the model's threshold.")]
Packets = Annotated[
    int | None,
    typer.Option(
        "--packets",
        metavar="K",
        help="First packets of a flow, of those that carry information, that its verdict is made of "
        "[dim]\\[default: the model's, see mtc models][/dim]",
    ),
]
Until = Annotated[
    float | None,
    typer.Option(
        "--until",
        metavar="CONFIDENCE",
        help="Stop at the packet of a flow where every task is as sure as that.",
    ),
]
Filter = capture_inputs.Filter
From = capture_inputs.From
To = capture_inputs.To
DropDuplicates = capture_inputs.DropDuplicates
Reuse = Annotated[
    bool, typer.Option("--reuse/--no-reuse", help="Compute samples that are the same only once.")
]
Decapsulate = capture_inputs.Decapsulate
