"""The demo's verdicts beside the truth, as a table and as a Markdown report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mtc.cli.shared.flow_table import BY
from mtc.cli.shared.tables import RowTable, TableColumn, stdout_console, verdict_text
from mtc.inference import FlowVerdicts
from mtc.tasks import Tasks

LIMITS = (
    "Such traffic is outside the training distribution: the model has seen none of these programs, hosts or "
    "years. This shows how it carries over, not how good it is on its own kind (mtc models shows that)."
)

RIGHT, WRONG, UNKNOWN = "right", "wrong", "–"
VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Verdicts and truths, flow by flow.

    Attributes:
        tasks: Task -> labels.
        verdicts: Rows of ``mtc classify``.
        truth: What each of these flows was: ``program`` and a label, or None, for each task.
        found: Task -> ``right``, ``wrong`` or ``–`` (the model knows no such class), flow by flow; and
            ``verdict`` -> whether its type is the real one, ``–`` where it is unknown.
        absent: Task -> labels that the model was never shown.
    """

    tasks: Tasks
    verdicts: Sequence[dict[str, Any]]
    truth: Sequence[Mapping[str, Any]]
    found: Sequence[dict[str, str]]
    absent: Mapping[str, Sequence[str]]

    def scores(self) -> dict[str, tuple[int, int]]:
        """Task, or ``verdict`` -> flows right, and flows that were answered and could be right."""
        marks = {task: [found[task] for found in self.found] for task in (VERDICT, *self.tasks)}
        return {task: (m.count(RIGHT), len(m) - m.count(UNKNOWN)) for task, m in marks.items()}


def compare(
    verdicts: FlowVerdicts, truth: Sequence[Mapping[str, Any]], absent: Mapping[str, Sequence[str]]
) -> Comparison:
    """Put each flow beside its truth, by five-tuple."""
    by_flow = {_five_tuple(flow): flow for flow in truth}
    rows = list(verdicts)
    flows = [_labels(by_flow[_five_tuple(row)]) for row in rows]
    found = [
        {task: _mark(row[task], flow.get(task)) for task in verdicts.tasks} | {VERDICT: _mark_type(row, flow)}
        for row, flow in zip(rows, flows, strict=True)
    ]
    return Comparison(verdicts.tasks, rows, flows, found, absent)


def _five_tuple(row: Mapping[str, Any]) -> tuple[Any, ...]:
    ends = sorted([(row["src"], row["src_port"]), (row["dst"], row["dst_port"])])
    return (row["protocol"], *ends)


def _labels(flow: Mapping[str, Any]) -> dict[str, Any]:
    return {**flow, "auxiliary": f"All {flow['traffic']}" if flow["traffic"] else None}


def _mark(verdict: Mapping[str, Any] | None, label: str | None) -> str:
    if label is None or verdict is None:
        return UNKNOWN
    return RIGHT if verdict["label"] == label else WRONG


def _mark_type(row: Mapping[str, Any], flow: Mapping[str, Any]) -> str:
    kind = row["verdict"]["type"]
    if kind is None or not flow.get("traffic"):
        return UNKNOWN
    return RIGHT if kind == flow["traffic"] else WRONG


def show(comparison: Comparison) -> None:
    """Print the table to standard output."""
    console = stdout_console()
    table = RowTable(_columns(comparison), console=console)
    for row, flow, found in zip(comparison.verdicts, comparison.truth, comparison.found, strict=True):
        table.write({**row, "program": flow["program"], "real": flow, "found": found})
    table.finish()
    for line in _remarks(comparison):
        console.print(line, markup=False)


def markdown(comparison: Comparison, model: str) -> str:
    """The report."""
    columns = _columns(comparison)
    rows = [
        {**row, "program": flow["program"], "real": flow, "found": found}
        for row, flow, found in zip(comparison.verdicts, comparison.truth, comparison.found, strict=True)
    ]
    lines = [
        "# What the demo capture is, and what the model says",
        "",
        f"Model `{model}`, bundled capture of {len(comparison.verdicts)} flows: real programs that talked to "
        "each other between two network namespaces of one machine.",
        "",
        "| " + " | ".join(column.title for column in columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(column.text(row) for column in columns) + " |" for row in rows),
        "",
        *(f"{line}\n" for line in _remarks(comparison)),
    ]
    return "\n".join(lines)


def _tasks(comparison: Comparison) -> list[str]:
    """Tasks with a column: application and traffic type, which say all that the family says."""
    return [task for task in comparison.tasks if task in ("application", "traffic")] or [*comparison.tasks]


def _columns(comparison: Comparison) -> tuple[TableColumn, ...]:
    """What each flow really was, the verdict on it, and what the model says."""
    return (
        TableColumn("flow", lambda row: f"{row['flow']}", right=True),
        TableColumn("program", lambda row: str(row["program"]), least=10),
        TableColumn("real type", lambda row: row["real"].get("traffic") or "(no such class)", least=10),
        TableColumn("verdict", verdict_text, least=16, cut_end=True, style=_colour),
        TableColumn("by", lambda row: BY[row["verdict"]["by"]]),
        TableColumn("type is", lambda row: str(row["found"][VERDICT]), style=_colour),
        *(
            TableColumn(f"{task} by model", partial(_cell, task=task), optional=True)
            for task in _tasks(comparison)
        ),
    )


def _colour(row: Mapping[str, Any]) -> str:
    return {RIGHT: "green", WRONG: "red", UNKNOWN: "dim"}[row["found"][VERDICT]]


def _cell(row: Mapping[str, Any], task: str) -> str:
    verdict, mark = row[task], row["found"][task]
    if verdict is None:
        return "no sample"
    label = f"{verdict['label']} {verdict['confidence']:.2f}"
    return label if mark == UNKNOWN else f"{label}, {mark}"


def _remarks(comparison: Comparison) -> list[str]:
    listed = ", ".join(f"{task} {right} of {of}" for task, (right, of) in comparison.scores().items())
    lines = [f"Right: {listed} flows whose class the model has.", LIMITS]
    never = {
        flow[task]
        for flow in comparison.truth
        for task in comparison.tasks
        if flow.get(task) in comparison.absent.get(task, ())
    }
    if never:
        lines.append(f"The model was never shown {', '.join(sorted(never))}, and so can never say it.")
    return lines
