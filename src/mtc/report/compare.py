"""Runs beside one another and beside the paper: as tables, as plain values, as one long CSV."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from typing import Any

from mtc.report.groups import Group, by_dataset, group_runs, paper_tasks
from mtc.report.paper import SCORES, paper_protocol
from mtc.report.sources import Run
from mtc.report.summary import cards
from mtc.report.tables.comparison import flow_table, table_4
from mtc.report.tables.table import Table

MORE_SCORES = (*SCORES, "weighted_f1", "accuracy", "ece")


def comparison_tables(runs: Sequence[Run]) -> list[Table]:
    """For each dataset the scores by packet, the paper's beside them, and those of verdicts on flows."""
    found: list[Table | None] = []
    for dataset, groups in by_dataset(group_runs(runs)).items():
        found += [table_4(groups, dataset), flow_table(groups, dataset)]
    return [table for table in found if table is not None]


def comparison_verdicts(runs: Sequence[Run]) -> list[str]:
    """For each task whether a network beats the best shallow baseline, where both are there."""
    return [
        f"{card.dataset}, {card.task}: {card.verdict}"
        for dataset, groups in by_dataset(group_runs(runs)).items()
        for card in cards(groups, dataset)
        if card.verdict
    ]


def comparison(runs: Sequence[Run]) -> dict[str, Any]:
    """The same as plain values, fit for JSON.

    Returns:
        ``{"models": [{"model", "dataset", "split", "part", "seeds", "folds", "runs", "shallow", "tasks":
        {TASK: {"packet": SCORES, "flow": SCORES, "paper": {score: value} | None}}}]}``; of SCORES, each is
        ``{"mean", "half_width", "count", "low", "high"}`` or None. All scores lie in [0, 1].
    """
    models = []
    for groups in by_dataset(group_runs(runs)).values():
        published = paper_tasks(groups)
        models += [
            {
                "model": group.model,
                "dataset": group.dataset,
                "split": group.split,
                "part": group.part,
                "seeds": list(group.seeds),
                "folds": group.folds,
                "runs": [run.name for run in group.runs],
                "shallow": group.shallow,
                "tasks": {
                    task: {
                        **{per: _scores(group, task, per) for per in ("packet", "flow")},
                        "paper": _paper(group, task) if task in published else None,
                    }
                    for task in group.tasks
                },
            }
            for group in groups
        ]
    return {"models": models}


def comparison_csv(runs: Sequence[Run]) -> str:
    """The same as CSV, a row a score: scores in [0, 1], the paper's protocol named beside its number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["dataset", "model", "split", "seeds", "task", "per", "score", "mean", "half_width", "low", "high",
         "paper", "paper_split"]
    )  # fmt: skip
    for model in comparison(runs)["models"]:
        about = [model["dataset"], model["model"], model["split"], " ".join(map(str, model["seeds"]))]
        for task, found in model["tasks"].items():
            for per in ("packet", "flow"):
                for name, score in found[per].items():
                    if score is None:
                        continue
                    published = (found["paper"] or {}).get(name) if per == "packet" else None
                    numbers = [score[key] for key in ("mean", "half_width", "low", "high")]
                    protocol = paper_protocol()[task] if published is not None else None
                    writer.writerow([*about, task, per, name, *numbers, published, protocol])
    return text.getvalue()


def _scores(group: Group, task: str, per: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in MORE_SCORES:
        score = group.score(task, name, per)
        low, high = group.bounds(task, name, per) or (None, None)
        found[name] = None if score is None else {**dataclasses.asdict(score), "low": low, "high": high}
    return found


def _paper(group: Group, task: str) -> dict[str, float] | None:
    return dict(group.row.scores[task]) if group.row and task in group.row.scores else None
