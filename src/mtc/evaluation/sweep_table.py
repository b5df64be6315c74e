"""The result of a sweep: for every point mean and 95 % interval over seeds, beside the paper's row."""

import csv
import io
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mtc.evaluation.intervals import estimate
from mtc.evaluation.sweep_recipe import Sweep, point_text

Metrics = Mapping[str, Any]
"""The content of a run's ``metrics.json``."""

SCORES = ("macro_f1", "macro_recall")


def validation_score(metrics: Metrics) -> float:
    """What the points of a sweep are compared by: macro F1 on the validation part, mean of the tasks."""
    return statistics.fmean(task["macro_f1"] or 0.0 for task in metrics["parts"]["validation"].values())


def summarise(
    sweep: Sweep, runs: Mapping[tuple[int, int], Metrics], failures: Mapping[tuple[int, int], str]
) -> dict[str, Any]:
    """The table of a sweep, as far as it came.

    Args:
        sweep: What is run.
        runs: (number of the point, seed) -> ``metrics.json``, of the finished runs.
        failures: (number of the point, seed) -> why the run failed.

    Returns:
        ``title``, ``split``, ``dataset``, ``seeds``, ``best`` (the number of the point with the best
        mean validation score) and ``points``: for each its ``settings``, ``seeds`` that are done,
        ``failed``, ``validation`` (an estimate), ``parts`` and ``flow_parts`` (task -> score ->
        estimate, on the test part) and ``paper`` (task -> score). An estimate is ``{"mean",
        "half_width", "count"}`` or null; all scores lie in [0, 1].
    """
    points: list[dict[str, Any]] = []
    for number, point in enumerate(sweep.points()):
        done = {seed: runs[number, seed] for seed in sweep.seeds if (number, seed) in runs}
        published = sweep.published(point).items()
        points.append(
            {
                "settings": dict(point),
                "seeds": list(done),
                "failed": {str(seed): why for (failed, seed), why in failures.items() if failed == number},
                "validation": _estimate([validation_score(metrics) for metrics in done.values()]),
                "parts": _test_scores(done, "parts"),
                "flow_parts": _test_scores(done, "flow_parts"),
                "paper": {
                    task: {name: round(value / 100, 6) for name, value in zip(SCORES, both, strict=True)}
                    for task, both in published
                },
            }
        )
    means = [point["validation"]["mean"] if point["validation"] else -1.0 for point in points]
    any_run = next(iter(runs.values()), None)
    return {
        "title": sweep.title,
        "split": any_run["protocol"] if any_run else None,
        "dataset": any_run["dataset"] if any_run else None,
        "seeds": list(sweep.seeds),
        "best": means.index(max(means)) if runs else None,
        "points": points,
    }


def csv_text(table: Mapping[str, Any]) -> str:
    """The table as CSV: a row for every point, task, and kind of verdict (``packet`` or ``flow``)."""
    text = io.StringIO()
    head = ["point", "task", "per", "seeds"]
    head += [f"{name}{suffix}" for name in SCORES for suffix in ("", "_half_width")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *(f"paper_{name}" for name in SCORES)])
    for point in table["points"]:
        for per, part in (("packet", "parts"), ("flow", "flow_parts")):
            for task in point[part] or point["paper"]:
                cells: list[Any] = [point_text(point["settings"]), task, per, len(point["seeds"])]
                for name in SCORES:
                    score = point[part].get(task, {}).get(name)
                    cells += [score["mean"], score["half_width"]] if score else [None, None]
                published = point["paper"].get(task, {}) if per == "packet" else {}
                writer.writerow(cells + [published.get(name) for name in SCORES])
    return text.getvalue()


def _test_scores(done: Mapping[int, Metrics], part: str) -> dict[str, dict[str, Any]]:
    tasks = next(iter(done.values()))[part]["test"] if done else ()
    return {
        task: {
            name: _estimate([metrics[part]["test"][task][name] for metrics in done.values()])
            for name in SCORES
        }
        for task in tasks
    }


def _estimate(scores: list[float | None]) -> dict[str, Any] | None:
    found = estimate(scores)
    return None if found is None else asdict(found)
