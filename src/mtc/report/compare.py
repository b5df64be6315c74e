"""Runs beside one another and beside the paper: as tables, as plain values, as one long CSV."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mtc.report.groups import Group, by_dataset, group_runs, honest_split, paper_split, paper_tasks
from mtc.report.paper import SCORES, PublishedRow, paper_protocol, published_tables
from mtc.report.sources import Run
from mtc.report.tables.comparison import flow_table, table_4
from mtc.report.tables.table import Percent, Table


@dataclass(frozen=True, slots=True)
class Line:
    """One number of a card: what it is, whose it is, how large, and the variable of its colour."""

    what: str
    model: str
    score: Percent
    colour: str


@dataclass(frozen=True, slots=True)
class Card:
    """Summary of one task of one dataset.

    Attributes:
        dataset: Name of the dataset.
        task: Name of the task.
        lines: Macro F1 by packet (or row), the honest ones first.
        verdict: Whether a network beats the best shallow baseline; empty where that was not tried.
    """

    dataset: str
    task: str
    lines: tuple[Line, ...]
    verdict: str


def cards(groups: Sequence[Group], dataset: str) -> list[Card]:
    """The cards of one dataset.

    Args:
        groups: All of the dataset.
        dataset: Its name.
    """
    honest, paper = honest_split(groups), paper_split(groups)
    found = []
    for task in dict.fromkeys(task for group in groups for task in group.tasks):
        scored = [group for group in groups if group.score(task, "macro_f1") is not None]
        on_honest = [group for group in scored if group.split == honest]
        networks = [group for group in on_honest if not group.shallow]
        network = _best(networks, task)
        shallow = _best([group for group in on_honest if group.shallow], task)
        on_paper = _best([group for group in scored if group.split == paper and not group.shallow], task)
        unseen = "unseen flows" if honest != "honest" else "honest protocol"
        lines = [
            _line(group, task, f"{unseen}, {what}", colour)
            for group, what, colour in (
                (network, "best network", "blue"),
                (shallow, "best baseline", "green"),
            )
            if group is not None
        ]
        if on_paper is not None:
            lines.append(_line(on_paper, task, "the paper's protocol", "orange"))
        row = _published(on_paper or network, task) if task in paper_tasks(scored) else None
        if row is not None:
            score = Percent(row.scores[task]["macro_f1"])
            lines.append(Line("the paper's own number", row.name, score, "grey"))
        found.append(Card(dataset, task, tuple(lines), _verdict(networks, shallow, task)))
    return [card for card in found if card.lines]


def _published(group: Group | None, task: str) -> PublishedRow | None:
    """The paper's row of a model, else that of the paper's best."""
    rows = [group.row] if group is not None and group.row is not None else published_tables()[4].rows
    known = [row for row in rows if task in row.scores]
    return max(known, key=lambda row: row.scores[task]["macro_f1"], default=None)


def _best(groups: Sequence[Group], task: str) -> Group | None:
    return max(groups, key=lambda group: _mean(group, task), default=None)


def _mean(group: Group, task: str) -> float:
    score = group.score(task, "macro_f1")
    return score.mean if score else -1.0


def _line(group: Group, task: str, what: str, colour: str) -> Line:
    score = Percent.of(group.score(task, "macro_f1"), group.bounds(task, "macro_f1"))
    assert score is not None
    return Line(what, group.model, score, colour)


def _verdict(networks: Sequence[Group], shallow: Group | None, task: str) -> str:
    """By means only: which of two is ahead beyond doubt is for a paired test over flows."""
    network = _best(networks, task)
    if network is None or shallow is None:
        return ""
    gap = 100 * (_mean(network, task) - _mean(shallow, task))
    if gap <= 0:
        return f"No network here beats {shallow.model}; the best lies {-gap:.1f} points below it."
    behind = [group.model for group in networks if _mean(group, task) <= _mean(shallow, task)]
    also = f" Behind {shallow.model}: {', '.join(behind)}." if behind else ""
    return f"{network.model} is {gap:.1f} points ahead of {shallow.model}.{also}"


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
    """The same as CSV, one row per score: scores in [0, 1], the paper's protocol named beside its number."""
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
