"""``mtc demo``: verdicts on the bundled capture, beside what each flow really was."""

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.errors import OutputError

if TYPE_CHECKING:
    from mtc.cli.demo_report import Comparison

REPORT = "report.md"


def demo(
    model: Annotated[str, typer.Option("--model", help="A bundled model or a run folder.")] = "iscx",
    out: Annotated[Path, typer.Option("--out", help="Folder for the report.")] = Path("mtc-demo"),
    force: Annotated[bool, typer.Option("--force", help="Replace the report of another run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead of the table.")] = False,
) -> None:
    """Classify the bundled capture: real programs that talked to each other on one machine.

    Every flow's verdict stands beside what the flow really was, right or wrong.
    """
    from mtc.cli.demo_report import compare, markdown, show
    from mtc.inference import Classifier, FlowVerdicts

    assets = Path(str(resources.files("mtc") / "assets"))
    truth = json.loads((assets / "demo.json").read_text(encoding="utf-8"))["flows"]
    classifier = Classifier.load(model)
    verdicts = classifier.classify(assets / "demo.pcap")
    assert isinstance(verdicts, FlowVerdicts)
    comparison = compare(verdicts, truth, classifier.model.card.absent)
    if as_json:
        for row in _rows(comparison):
            typer.echo(json.dumps(row))
    else:
        show(comparison)
    _write_report(out, markdown(comparison, model), force)


def _rows(comparison: "Comparison") -> list[dict[str, Any]]:
    return [
        row | {"capture": "demo.pcap", "program": flow["program"], "truth": found}
        for row, flow, found in zip(comparison.verdicts, comparison.truth, comparison.found, strict=True)
    ]


def _write_report(out: Path, text: str, force: bool) -> None:
    """Write the report, unless the very same one is there already."""
    from mtc.files import output_file

    path = out / REPORT
    try:
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            return
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    with output_file(path, force=force) as place:
        place.write_text(text, encoding="utf-8")
    typer.echo(f"The same as a report: {path}", err=True)
