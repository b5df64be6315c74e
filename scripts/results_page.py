"""docs/results.md from the kept results: what was measured, beside what the paper says."""

import json
from pathlib import Path
from typing import Any

from mtc.evaluation.paired import Estimate, estimate

HEADINGS = {
    "application": "App.", "traffic": "Tra.", "auxiliary": "Aux.", "attack": "Attack.", "malicious": "Mal."
}  # fmt: skip

INTRODUCTION = (Path(__file__).parent / "results_page.md").read_text(encoding="utf-8")


def write_page(plan: dict[str, Any], results: Path, page: Path) -> None:
    """Write the page from what is in ``results``."""
    contents = (json.loads(path.read_text()) for path in sorted(results.glob("*.json")))
    kept = [content for content in contents if "run" in content]  # audits and the like stand there too
    lines = [INTRODUCTION]
    for table in plan["tables"]:
        dataset = plan["datasets"][table["dataset"]]["title"]
        lines += [f"## {dataset}: {table['title']} (`{table['split']}`)", "", table["note"], ""]
        rows = {
            recipe: [
                run for run in kept if (run["run"]["table"], run["run"]["recipe"]) == (table["name"], recipe)
            ]
            for recipe in table["recipes"]
        }
        lines += [*_scores(plan, table, rows), "", *_costs(plan, rows), ""]
    text = "\n".join(lines).rstrip() + "\n"
    partial = page.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(page)


def _scores(plan: dict[str, Any], table: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    by_flow = table["split"] in ("flow", "packet")
    head = ["model", "task", "F1", "recall", *(["F1 by flow"] if by_flow else []), "paper F1", "paper recall"]
    lines = [_row(head), "|---|---|" + "---:|" * (len(head) - 2)]
    for recipe, runs in rows.items():
        for task in table["tasks"]:
            known = plan["paper"].get(recipe)
            if known is not None and task not in known:
                continue  # a system of the paper without this task
            published = [f"{value:.2f}" for value in known[task]] if known else ["", ""]
            cells = [_score(runs, "parts", task, "macro_f1"), _score(runs, "parts", task, "macro_recall")]
            if by_flow:
                cells.append(_score(runs, "flow_parts", task, "macro_f1"))
            name = plan["names"][recipe] if task == table["tasks"][0] else ""
            lines.append(_row([name, HEADINGS[task], *cells, *published]))
    return lines


def _costs(plan: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    head = [
        "model", "seeds", "budget, min", "wall time, min", "samples/s", "epochs", "train rows", "machine"
    ]  # fmt: skip
    lines = [_row(head), "|---|" + "---:|" * (len(head) - 2) + "---|"]
    for recipe, runs in rows.items():
        about = [run["run"] for run in runs]
        training = [run["training"] for run in about]
        cells = [
            ", ".join(str(run["seed"]) for run in runs),
            _several(f"{run['budget_minutes']:g}" for run in about),
            _mean([run["minutes"] for run in training], "{:.1f}"),
            _mean([run["samples_per_s"] for run in training], "{:,.0f}"),
            _mean([run["epochs"] for run in training], "{:.1f}" if len(runs) > 1 else "{:.0f}"),
            _several(f"{run['rows']['train']:,}" for run in about),
            _several(f"{run['machine']}, {run['precision']}" for run in training),
        ]
        lines.append(_row([plan["names"][recipe], *cells]))
    return lines


def _score(runs: list[dict[str, Any]], parts: str, task: str, name: str) -> str:
    return _percent(estimate([run[parts]["test"][task][name] for run in runs]))


def _percent(score: Estimate | None) -> str:
    if score is None:
        return ""
    mean = f"{100 * score.mean:.2f}"
    return mean if score.half_width is None else f"{mean} ± {100 * score.half_width:.2f}"


def _mean(values: list[float], form: str) -> str:
    return form.format(sum(values) / len(values)) if values else ""


def _several(texts: Any) -> str:
    return "; ".join(dict.fromkeys(texts))


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
