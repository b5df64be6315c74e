"""The options of ``mtc classify``."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from mtc.cli.shared import rows

DEFAULT_MODEL = "iscx"
DEFAULT_TABLE_MODEL = "cicids2017"


class Per(StrEnum):
    """Units that get a verdict."""

    flow = "flow"
    packet = "packet"


class By(StrEnum):
    """Groups that verdicts on flows are summed up for."""

    host = "host"
    service = "service"
    type = "type"


@dataclass(frozen=True, slots=True)
class Order:
    """Order and number of the rows."""

    sort: rows.Sort | None
    limit: int | None


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
    By | None, typer.Option("--by", help="Sum up: one row per host, service or type instead of per flow.")
]
Reject = Annotated[
    bool, typer.Option("--reject/--no-reject", help="Labels of the model below its threshold are unknown.")
]
Ndpi = Annotated[
    bool, typer.Option("--ndpi", help="Ask nDPI about flows that say nothing of themselves (extra ndpi).")
]
Packets = Annotated[
    int | None,
    typer.Option(
        "--packets",
        metavar="K",
        help="First packets of a flow, of those that carry information, that its verdict is made of "
        "[dim]\\[default: the model's, see mtc models][/dim]",
    ),
]
Early = Annotated[
    float | None,
    typer.Option(
        "--early",
        metavar="CONFIDENCE",
        help="Use no more packets of a flow once every task is as sure as that.",
    ),
]
Reuse = Annotated[
    bool, typer.Option("--reuse/--no-reuse", help="Compute samples that are the same only once.")
]
