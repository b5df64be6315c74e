"""Tables 6 to 9 from sweeps; what the runs cost; every run by name."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mtc.evaluation.sweep_recipe import point_text
from mtc.report.groups import HEADINGS, Group, slug
from mtc.report.paper import SCORES, published_tables
from mtc.report.sources import Run
from mtc.report.tables.table import Cell, Column, Percent, Table

SHORT = {"macro_f1": "F1", "macro_recall": "Rc"}

SWEEP_TABLES = (6, 7, 8, 9)


def sweep_number(sweep: Mapping[str, Any]) -> int | None:
    """Which of Tables 6 to 9 a sweep is, by what it varies; ``None`` if none of them."""
    varied = {key for point in sweep["points"] for key in point["settings"]}
    return next((n for n in SWEEP_TABLES if varied == {published_tables()[n].setting}), None)


def sweep_table(number: int, sweep: Mapping[str, Any] | None, name: str = "") -> Table:
    """One of Tables 6 to 9: the paper's numbers, and ours where there is a sweep.

    Source: Tables 6 to 9.
    """
    table = published_tables()[number]
    points = {_key(point["settings"][table.setting]): point for point in sweep["points"]} if sweep else {}
    rows = [
        _sweep_row(row.name, row.scores, points.pop(_key(row.at), None), table.tasks) for row in table.rows
    ]
    rows += [_sweep_row(_last(point["settings"]), {}, point, table.tasks) for point in points.values()]
    what = f"mtc sweep {table.sweep} --data DATASET --out DIR"
    note = _sweep_note(sweep) if sweep else f"Not measured here: no such sweep is in this report ({what})."
    return Table(
        f"table-{number}" + (f"-{slug(name)}" if name else ""),
        f"Table {number}: {table.title}",
        _sweep_columns(table.tasks),
        rows,
        note,
    )


def other_sweep_table(sweep: Mapping[str, Any], name: str) -> Table:
    """A sweep that is none of the paper's."""
    tasks = tuple(dict.fromkeys(task for point in sweep["points"] for task in point["parts"]))
    rows = [_sweep_row(point_text(point["settings"]), {}, point, tasks) for point in sweep["points"]]
    return Table(
        f"sweep-{slug(name)}", f"Sweep: {sweep['title']}", _sweep_columns(tasks), rows, _sweep_note(sweep)
    )


def cost_table(groups: Sequence[Group], dataset: str) -> Table:
    """Cost of the runs of one dataset: time, speed, epochs, rows, machine."""
    columns = [
        Column("model"), Column("split"), Column("seeds"), Column("budget, min", numbers=True),
        Column("time, min", numbers=True), Column("samples/s", numbers=True, digits=0),
        Column("epochs", numbers=True), Column("train rows", numbers=True), Column("machine"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            group.model,
            group.split,
            ", ".join(map(str, group.seeds)),
            _mean(run.budget_minutes for run in group.runs),
            _mean(run.training.get("minutes", run.metrics.get("minutes")) for run in group.runs),
            _mean(_speed(run) for run in group.runs),
            _mean(run.training.get("epochs", run.metrics.get("epochs")) for run in group.runs),
            _whole(_mean(run.rows.get("train") for run in group.runs)),
            "; ".join(dict.fromkeys(_machine(run) for run in group.runs if _machine(run))),
        ]
        for group in groups
    ]
    note = "Means over the seeds. The budget is the wall time that a run was given at most."
    return Table(f"costs-{slug(dataset)}", f"What the runs took: {dataset}", columns, rows, note)


def run_table(groups: Sequence[Group]) -> Table:
    """Every run of the report, with what it was made by."""
    columns = [
        Column("run"), Column("dataset"), Column("model"), Column("split"), Column("part"),
        Column("seed", numbers=True), Column("epochs", numbers=True), Column("made by"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [run.name, group.dataset, group.model, group.split, run.part, run.seed, run.metrics.get("epochs"),
         run.command]
        for group in groups
        for run in group.runs
    ]  # fmt: skip
    return Table("all-runs", "Every run of this report", columns, rows)


def _sweep_columns(tasks: Sequence[str]) -> list[Column]:
    columns = [Column("value"), Column("seeds")]
    for task in tasks:
        head = HEADINGS.get(task, task)
        columns += [
            Column(f"{head} {SHORT[name]}, {who}", numbers=True)
            for name in SCORES
            for who in ("paper", "ours")
        ]
    return columns


def _sweep_row(
    name: str,
    published: Mapping[str, Mapping[str, float]],
    point: Mapping[str, Any] | None,
    tasks: Sequence[str],
) -> list[Cell]:
    row: list[Cell] = [name, ", ".join(map(str, point["seeds"])) if point else None]
    for task in tasks:
        for score in SCORES:
            value = published.get(task, {}).get(score)
            row.append(None if value is None else Percent(value))
            found = point["parts"].get(task, {}).get(score) if point else None
            row.append(Percent(found["mean"], found["half_width"]) if found else None)
    return row


def _sweep_note(sweep: Mapping[str, Any]) -> str:
    dataset = sweep["dataset"]["name"] if sweep.get("dataset") else "?"
    done = [point for point in sweep["points"] if point["seeds"]]
    failed = [f"{point_text(point['settings'])}, seed {seed}: {why}"
              for point in sweep["points"] for seed, why in point["failed"].items()]  # fmt: skip
    best = sweep.get("best")
    return " ".join(
        [
            f"In percent, by packet, test part of {dataset}, split by {sweep.get('split')}; "
            f"{len(done)} of {len(sweep['points'])} points have a run.",
            *([f"Best on the validation part: {point_text(sweep['points'][best]['settings'])}."]
              if best is not None else []),
            *([f"Failed: {'; '.join(failed)}."] if failed else []),
        ]
    )  # fmt: skip


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _last(settings: Mapping[str, Any]) -> str:
    return point_text(settings).partition("=")[2]


def _mean(values: Any) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _speed(run: Run) -> float | None:
    found: float | None = run.training.get("samples_per_s", run.metrics.get("train_samples_per_s"))
    return found


def _machine(run: Run) -> str:
    known = (run.training.get("machine"), run.training.get("precision"))
    return ", ".join(str(value) for value in known if value)
