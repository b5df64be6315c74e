"""The demo's verdicts beside the truth, as a table and as a Markdown report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from mtc.cli.shared.tables import stdout_console
from mtc.inference import FlowVerdicts
from mtc.tasks import Tasks

LIMITS = (
    "Such traffic is outside the training distribution: the model has seen none of these programs, hosts or "
    "years. This shows how it carries over, not how good it is on its own kind (mtc models shows that)."
)

RIGHT, WRONG, UNKNOWN = "right", "wrong", "–"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Verdicts and truths, flow by flow.

    Attributes:
        tasks: Task -> labels.
        verdicts: Rows of ``mtc classify``.
        truth: What each of these flows was: ``program`` and a label, or None, for each task.
        found: Task -> ``right``, ``wrong`` or ``–`` (the model knows no such class), flow by flow.
        absent: Task -> labels that the model was never shown.
    """

    tasks: Tasks
    verdicts: Sequence[dict[str, Any]]
    truth: Sequence[Mapping[str, Any]]
    found: Sequence[dict[str, str]]
    absent: Mapping[str, Sequence[str]]

    def scores(self) -> dict[str, tuple[int, int]]:
        """Task -> flows right, and flows that could be right."""
        marks = {task: [found[task] for found in self.found] for task in self.tasks}
        return {task: (m.count(RIGHT), len(m) - m.count(UNKNOWN)) for task, m in marks.items()}


def compare(
    verdicts: FlowVerdicts, truth: Sequence[Mapping[str, Any]], absent: Mapping[str, Sequence[str]]
) -> Comparison:
    """Put each flow beside its truth, by five-tuple."""
    by_flow = {_five_tuple(flow): flow for flow in truth}
    rows = list(verdicts)
    flows = [_labels(by_flow[_five_tuple(row)]) for row in rows]
    found = [
        {task: _mark(row[task], flow.get(task)) for task in verdicts.tasks}
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


def show(comparison: Comparison) -> None:
    """Print the table to standard output."""
    console = stdout_console()
    table = Table(*_head(comparison))
    colours = {RIGHT: "green", WRONG: "red", UNKNOWN: "dim"}
    for cells, found in zip(_cells(comparison), comparison.found, strict=True):
        marks = [colours[found[task]] for task in _tasks(comparison)]
        marks = [""] * (len(cells) - len(marks)) + marks
        table.add_row(*(f"[{c}]{text}" if c else text for c, text in zip(marks, cells, strict=True)))
    console.print(table)
    for line in _remarks(comparison):
        console.print(line, markup=False)


def markdown(comparison: Comparison, model: str) -> str:
    """The report."""
    head = _head(comparison)
    lines = [
        "# What the demo capture is, and what the model says",
        "",
        f"Model `{model}`, bundled capture of {len(comparison.verdicts)} flows: real programs that talked to "
        "each other between two network namespaces of one machine.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cells) + " |" for cells in _cells(comparison)),
        "",
        *(f"{line}\n" for line in _remarks(comparison)),
    ]
    return "\n".join(lines)


def _tasks(comparison: Comparison) -> list[str]:
    """Tasks with a column: application and traffic type, which say all that the family says."""
    return [task for task in comparison.tasks if task in ("application", "traffic")] or [*comparison.tasks]


def _head(comparison: Comparison) -> list[str]:
    tasks = _tasks(comparison)
    return ["flow", "program", *(f"real {task}" for task in tasks), *(f"{task}, verdict" for task in tasks)]


def _cells(comparison: Comparison) -> list[list[str]]:
    tasks = _tasks(comparison)
    return [
        [
            str(row["flow"]),
            flow["program"],
            *(flow.get(task) or "(no such class)" for task in tasks),
            *(_cell(row[task], found[task]) for task in tasks),
        ]
        for row, flow, found in zip(comparison.verdicts, comparison.truth, comparison.found, strict=True)
    ]


def _cell(verdict: Mapping[str, Any] | None, mark: str) -> str:
    if verdict is None:
        return "no sample"
    said = f"{verdict['label']} {verdict['confidence']:.2f}"
    return said if mark == UNKNOWN else f"{said}, {mark}"


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
