"""``mtc flows``: what the flows of captures are."""

from pathlib import Path
from typing import Annotated

import typer

from mtc.errors import UsageError

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
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="csv|json|parquet",
        help="[dim]\\[default: by the suffix of --out, else csv][/dim]",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Write to a file.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file of --out.")]


def flows(
    inputs: Inputs,
    features: Features = None,
    strict: Strict = False,
    output_format: FormatOption = None,
    out: Out = None,
    force: Force = False,
) -> None:
    """Write the flows of captures.

    [dim]mtc flows capture.pcap --features corrected[/dim]
    [dim]mtc flows captures/ --features cicids2017 --format parquet --out flows.parquet[/dim]
    """
    if features is None:
        raise UsageError("give --features cicids2017, cicflowmeter4 or corrected")

    from mtc.cli.flows.features import write_features

    write_features(inputs, features, strict=strict, chosen=output_format, out=out, force=force)
