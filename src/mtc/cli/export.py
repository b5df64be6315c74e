"""``mtc export``: a model as ONNX."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mtc.inference.export.check import Parity
    from mtc.inference.export.onnx import ExportReport


class Target(StrEnum):
    """Formats that a model is exported to."""

    onnx = "onnx"


def export(
    model: Annotated[str, typer.Argument(help="A bundled model (see mtc models) or a run folder.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    to: Annotated[Target, typer.Option("--to", help="Its format.")] = Target.onnx,
    int8: Annotated[
        bool, typer.Option("--int8", help="Store the weights of matrix products as 8-bit integers.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model as one ONNX file, and check it against the model in onnxruntime.

    [dim]mtc export iscx --out iscx.onnx[/dim]

    The file takes raw samples (or rows of flow features) and gives logits; mask and scaling are inside,
    and its metadata hold classes, temperatures and all else that a verdict needs.
    """
    from mtc.files import output_file
    from mtc.inference.export.onnx import export_onnx
    from mtc.inference.model_registry import find_model
    from mtc.models import load_model

    loaded = load_model(find_model(model))
    with output_file(out, force=force) as place:
        report = export_onnx(loaded, place, int8=int8)
    if as_json:
        typer.echo(json.dumps({"file": str(out), "to": to.value, **report.to_dict()}, indent=1))
        return
    _show(out, report)


def _show(out: Path, report: "ExportReport") -> None:
    typer.echo(f"{out}: {report.size / 1e6:.1f} MB, ONNX opset {report.opset}")
    typer.echo(f"fp32 in onnxruntime, {_told(report.parity)}: equal to the model")
    if report.int8_parity is not None:
        typer.echo(f"int8 in onnxruntime, {_told(report.int8_parity)}")
        shares = ", ".join(f"{task} {share:.1%}" for task, share in report.int8_parity.agreement.items())
        typer.echo(f"int8, same top class: {shares}")


def _told(parity: "Parity") -> str:
    *first, last = parity.difference
    return (
        f"{parity.samples} samples in batches of {', '.join(map(str, first))} and {last}: "
        f"largest difference of a probability {max(parity.difference.values()):.1e}"
    )
