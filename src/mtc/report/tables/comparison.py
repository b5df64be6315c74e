"""The tables of scores: Tables 4 and 5 of the paper with ours beside, flow verdicts, classes, calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtc.evaluation.paired import Estimate, estimate
from mtc.report.groups import HEADINGS, Group, paper_tasks, slug, split_order, split_text
from mtc.report.paper import SCORES, PublishedRow, paper_protocol, published_tables
from mtc.report.tables.table import Cell, Column, Percent, Table

SHORT = {"macro_f1": "F1", "macro_recall": "Rc"}
SEVERAL_NOTE = (
    "In percent, averaged over the classes with at least one test sample. Several seeds: mean ± half of the "
    "95 % interval (Student's t). One seed: [95 % bootstrap over flows], where it was computed. "
)
PAPER_NOTE = "The paper's numbers are for a random split, one seed, and the full dataset."


def table_4(groups: Sequence[Group], dataset: str) -> Table:
    """Table 4 for the groups of one dataset: one row per model and split, the paper's row above them.

    Source: Table 4.
    """
    tasks = _tasks(groups)
    published = [task for task in paper_tasks(groups) if task in tasks]
    columns = [Column("model"), Column("from"), Column("split"), Column("seeds")]
    columns += [Column(f"{_head(task)} {SHORT[name]}", numbers=True) for task in tasks for name in SCORES]
    rows: list[list[Cell]] = []
    rules = set()
    for model in _models(groups, published):
        rules.add(len(rows))
        ours = [group for group in groups if _block(group) == model]
        row = published_tables()[4].row(model)
        if row is not None and any(task in row.scores for task in published):
            split = paper_protocol()[published[0]]
            rows.append([model, "paper", split, "one", *_published_cells(row, tasks, published)])
        for group in sorted(ours, key=lambda group: split_order(group.split)):
            cells = [_score(groups, group, task, name) for task in tasks for name in SCORES]
            rows.append([group.model, "ours", group.split, _seeds(group), *cells])
    note = SEVERAL_NOTE + (f"Bold: the best of ours on that split. {PAPER_NOTE}" if published else "")
    return Table(
        f"table-4-{slug(dataset)}",
        f"Table 4: {dataset}, by {groups[0].unit}",
        columns,
        rows,
        note,
        frozenset(rules),
    )


def table_5(groups: Sequence[Group], dataset: str) -> Table | None:
    """Table 5 for the groups of one dataset: other methods as the paper cites them, and ours.

    Source: Table 5.

    Returns:
        The table; ``None`` where the dataset's tasks are not the paper's.
    """
    table = published_tables()[5]
    tasks = [task for task in paper_tasks(groups) if task in table.tasks]
    if not tasks:
        return None
    columns = [Column("method"), Column("from"), Column("split"), Column("seeds")]
    columns += [Column(f"{_head(task)} {SHORT[name]}", numbers=True) for task in tasks for name in SCORES]
    rows: list[list[Cell]] = [
        [row.name, "paper" if row.recipes else "cited there", "as published", None,
         *_published_cells(row, tasks, tasks)]
        for row in table.rows
        if any(task in row.scores for task in tasks)
    ]  # fmt: skip
    rules = {len(rows) - 1, len(rows)}
    for group in sorted(groups, key=lambda group: (split_order(group.split), group.place)):
        if len(rows) and rows[-1][2] != group.split:
            rules.add(len(rows))
        cells = [_score(groups, group, task, name) for task in tasks for name in SCORES]
        rows.append([group.model, "ours", group.split, _seeds(group), *cells])
    return Table(
        f"table-5-{slug(dataset)}",
        f"Table 5: {dataset}, other methods",
        columns,
        rows,
        SEVERAL_NOTE + "Published scores are on splits, filters and class averages of their own.",
        frozenset(rules),
    )


def flow_table(groups: Sequence[Group], dataset: str) -> Table | None:
    """Scores of verdicts on flows; ``None`` where flows are not distinguished."""
    groups = [group for group in groups if group.unit == "packet"]
    tasks = _tasks(groups)
    if not any(group.score(task, "macro_f1", "flow") for group in groups for task in tasks):
        return None
    columns = [Column("model"), Column("split"), Column("seeds")]
    columns += [Column(f"{_head(task)} {SHORT[name]}", numbers=True) for task in tasks for name in SCORES]
    rows: list[list[Cell]] = []
    rules = set()
    for group in groups:
        if not rows or rows[-1][1] != group.split:
            rules.add(len(rows))
        cells = [_score(groups, group, task, name, "flow") for task in tasks for name in SCORES]
        rows.append([group.model, group.split, _seeds(group), *cells])
    return Table(
        f"flow-verdicts-{slug(dataset)}",
        f"Verdicts on flows: {dataset}",
        columns,
        rows,
        SEVERAL_NOTE + "A flow's verdict is made of its first ten packets that carry information.",
        frozenset(rules),
    )


def common_table(groups: Sequence[Group], dataset: str) -> Table | None:
    """The same scores without the rare classes; ``None`` where no run has them."""
    tasks = [task for task in _tasks(groups) if any(_common(group, task, "macro_f1") for group in groups)]
    if not tasks:
        return None
    first = next(run.scores("packet")[task]["common"] for group in groups for run in group.runs
                 for task in tasks if run.scores("packet").get(task, {}).get("common"))  # fmt: skip
    left_out = dict.fromkeys(
        label
        for group in groups
        for run in group.runs
        for task in tasks
        for label in (run.scores("packet").get(task, {}).get("common") or {}).get("left_out", ())
    )
    columns = [Column("model"), Column("split"), Column("seeds")]
    columns += [Column(f"{_head(task)} {SHORT[name]}", numbers=True) for task in tasks for name in SCORES]
    rows: list[list[Cell]] = [
        [group.model, group.split, _seeds(group),
         *(Percent.of(_common(group, task, name)) for task in tasks for name in SCORES)]
        for group in groups
    ]  # fmt: skip
    return Table(
        f"common-classes-{slug(dataset)}",
        f"Without rare classes: {dataset}, by {groups[0].unit}",
        columns,
        rows,
        f"As Table 4, over the classes with at least {first['flows']} flows in the dataset; "
        f"left out: {', '.join(left_out) or 'none'}.",
        _rules(rows, 1),
    )


def class_table(groups: Sequence[Group], dataset: str, split: str, task: str) -> Table:
    """The numbers of Figure 7: F1 and recall by class, one column per model."""
    groups = [group for group in groups if task in group.tasks]
    labels = dict.fromkeys(label for group in groups for label in group.classes(task))
    columns = [Column("class"), Column("support", numbers=True)]
    columns += [
        Column(f"{group.model} {name}", numbers=True) for group in groups for name in ("F1", "recall")
    ]
    rows: list[list[Cell]] = []
    for label in labels:
        support = groups[0].class_score(task, label, "support")
        cells = [
            Percent.of(group.class_score(task, label, score))
            for group in groups
            for score in ("f1", "recall")
        ]
        if any(cell is not None for cell in cells):
            rows.append([label, round(support.mean) if support else None, *cells])
    return Table(
        f"classes-{slug(dataset)}-{slug(split)}-{task}",
        f"{task} by class: {dataset}, {split_text(split)}",
        columns,
        rows,
        "In percent; support is the number of test samples, of several seeds their mean.",
    )


def calibration_table(groups: Sequence[Group], dataset: str) -> Table:
    """Expected calibration error and accuracy, of packets and of flows."""
    unit = groups[0].unit
    shown = [(per, name) for per in ("packet", "flow") for name in ("ece", "accuracy")]
    shown = shown if unit == "packet" else shown[:2]
    columns = [Column("model"), Column("split"), Column("task")]
    columns += [
        Column(f"{'ECE' if name == 'ece' else name}, {per if per == 'flow' else unit}s", numbers=True)
        for per, name in shown
    ]
    rows: list[list[Cell]] = [
        [group.model, group.split, task, *(Percent.of(group.score(task, name, per)) for per, name in shown)]
        for group in groups
        for task in group.tasks
    ]  # fmt: skip
    return Table(
        f"calibration-{slug(dataset)}",
        f"Calibration: {dataset}",
        columns,
        rows,
        "In percent. ECE: mean gap between confidence and share right, over 15 bins of confidence, on the "
        "test part; the temperatures are fitted on the validation part.",
        _rules(rows, 0, 1),
    )


def _score(
    groups: Sequence[Group], group: Group, task: str, name: str, per: str = "packet"
) -> Percent | None:
    score = group.score(task, name, per)
    rivals = [other.score(task, name, per) for other in groups if other.split == group.split]
    known = [rival.mean for rival in rivals if rival is not None]
    best = score is not None and len(known) > 1 and score.mean == max(known)
    return Percent.of(score, group.bounds(task, name, per), best=best)


def _published_cells(
    row: PublishedRow, tasks: Sequence[str], published: Sequence[str]
) -> list[Percent | None]:
    found = [row.scores.get(task, {}) if task in published else {} for task in tasks]
    return [Percent(scores[name]) if name in scores else None for scores in found for name in SCORES]


def _models(groups: Sequence[Group], published: Sequence[str]) -> list[str]:
    """Models of a table, the paper's first, with or without runs of ours."""
    rows = [row for row in published_tables()[4].rows if any(task in row.scores for task in published)]
    return list(dict.fromkeys([row.name for row in rows] + [_block(group) for group in _by_place(groups)]))


def _block(group: Group) -> str:
    """The rows of Table 4 that a group stands among: the paper's, or its model's own."""
    return group.row.name if group.row else group.model


def _by_place(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: group.place)


def _tasks(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(task for group in groups for task in group.tasks))


def _common(group: Group, task: str, name: str) -> Estimate | None:
    return estimate(
        [(run.scores("packet").get(task, {}).get("common") or {}).get(name) for run in group.runs]
    )


def _head(task: str) -> str:
    return HEADINGS.get(task, task)


def _seeds(group: Group) -> str:
    seeds = ", ".join(map(str, group.seeds)) or str(len(group.runs))
    return f"{seeds}; {group.folds} folds" if group.folds else seeds


def _rules(rows: Sequence[Sequence[Cell]], *columns: int) -> frozenset[int]:
    """Rows whose cells in some columns differ from those of the row before."""
    return frozenset(
        number
        for number, row in enumerate(rows)
        if number and any(row[column] != rows[number - 1][column] for column in columns)
    )


def paired_table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Differences in macro F1, one row per comparison, task, kind of verdict and choice of classes."""
    columns = [Column("second against first"), Column("split"), Column("seeds", numbers=True), Column("task")]
    columns += [Column("verdicts on"), Column("classes"), Column("first", numbers=True)]
    columns += [Column("second", numbers=True), Column("difference", numbers=True)]
    columns += [Column("second better in draws (%)", numbers=True)]
    rows: list[list[Cell]] = []
    rules = set()
    for content in found.values():
        rules.add(len(rows))
        first, second = (Path(content[side][0]).name for side in ("first", "second"))
        for task, by_verdict in content["tasks"].items():
            for per, by_classes in by_verdict.items():
                for which, row in by_classes.items():
                    if row is not None:
                        low, high = row["interval"]
                        rows.append(
                            [
                                f"{second} against {first}", content["split"], len(content["first"]), task,
                                f"{per}s", which, Percent(row["first"]), Percent(row["second"]),
                                Percent(row["difference"], bounds=(low, high), best=low > 0),
                                100 * row["above_zero"],
                            ]
                        )  # fmt: skip
    least = {content["common_flows"] for content in found.values()}
    note = (
        "Macro F1 in percent, means of the seeds; [95 % interval] of the difference by a paired bootstrap "
        "over flows, bold where it lies above 0. Common: without classes of fewer than "
        f"{', '.join(map(str, sorted(least)))} flows in the dataset."
    )
    return Table("paired", "Two models on the same flows", columns, rows, note, frozenset(rules))
