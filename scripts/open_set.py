"""Open-set evaluation of a recipe: train without a group of classes, then ask for them.

    python scripts/open_set.py iscx-gradient-boosting [--data data/iscx-mini] [--minutes 2] [--budget 20]

For each task, the classes are held out in four fixed groups, one run a group (mtc.evaluation.open_set).
What a run comes to is kept in results/open-set-RECIPE-SEED.json at once, and not run again; an interrupted
run goes on where it was. Run folders lie in results/work. Ends with status 3 where runs are left to do.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from mtc.config import RunConfig, load_recipe
from mtc.datasets import Dataset
from mtc.evaluation.open_set import GROUPS, SCORES, HeldOut, held_out_groups, score_open_set
from mtc.files import write_text
from mtc.models import load_model
from mtc.training import train
from rounding import rounded

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
DIGITS = 4


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="name of a recipe, or path of one")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "iscx-mini", help="dataset folder")
    parser.add_argument("--tasks", nargs="+", default=["application", "traffic"], help="tasks, one by one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0, help="time budget of a run; 0: the recipe's own")
    parser.add_argument(
        "--budget", type=float, default=0, help="begin no run after so many minutes; 0: never"
    )
    parser.add_argument("--set", action="append", default=[], help="a further setting")
    parser.add_argument("--out", type=Path, help="file to keep what was found in")
    parser.add_argument("--work", type=Path, default=RESULTS / "work", help="folder of the run folders")
    options = parser.parse_args(arguments)
    settings = [f"seed={options.seed}", *options.set]
    settings += [f"train.max_minutes={options.minutes:g}"] if options.minutes else []
    name = f"open-set-{Path(options.recipe).stem}-{options.seed}"
    dataset, config = Dataset.open(options.data), load_recipe(options.recipe, settings)
    return evaluate_all(dataset, config, options, name=name, out=options.out or RESULTS / f"{name}.json")


def evaluate_all(
    dataset: Dataset, config: RunConfig, options: argparse.Namespace, *, name: str, out: Path
) -> int:
    """Do the runs that are not done; 3 where some are left."""
    about = {
        "recipe": Path(options.recipe).stem,
        "model": config.model.name,
        "dataset": {"name": dataset.info.name, "hash": dataset.hash},
        "split": config.data.split,
        "seed": config.seed,
        "config": config.to_dict(),
    }
    runs = read_runs(out, about)
    begun = time.monotonic()
    left = 0
    for task in options.tasks:
        for number, held_out in enumerate(held_out_groups(dataset.tasks[task]), 1):
            if any((run["task"], run["group"]) == (task, number) for run in runs):
                continue
            if options.budget and time.monotonic() - begun > 60 * options.budget:
                left += 1
                continue
            print(f"{task}, group {number} of {GROUPS}: without {', '.join(held_out)}", flush=True)
            without = HeldOut(dataset, task, held_out)
            if not rows_to_ask_for(without, config.data.split):
                print("  left out: no rows", flush=True)
                continue
            folder = options.work / f"{name}-{task}-{number}"
            metrics = train(config, without, folder, resume=True)
            found = score_open_set(load_model(folder), without)
            runs.append(
                {
                    "task": task,
                    "group": number,
                    "held_out": list(held_out),
                    "minutes": metrics["minutes"],
                    "macro_f1_known": metrics["parts"]["test"][task]["macro_f1"],
                    **found,
                }
            )
            write(out, {"kind": "open-set", **about, "runs": runs, "mean": means(runs)})
    print(json.dumps(means(runs), indent=1))
    return 3 if left else 0


def rows_to_ask_for(dataset: HeldOut, split: str) -> int:
    """Rows of the held-out classes."""
    return len(dataset.unknown(split))


def read_runs(out: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """What an earlier call with the same settings has done."""
    if not out.is_file():
        return []
    kept = json.loads(out.read_text(encoding="utf-8"))
    if {name: kept.get(name) for name in about} != json.loads(json.dumps(about)):
        sys.exit(f"{out} holds what other settings came to: move it away, or name another --out")
    runs: list[dict[str, Any]] = kept["runs"]
    return runs


def means(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Task -> verdict -> the mean over the groups of each number."""
    table: dict[str, Any] = {}
    for task in dict.fromkeys(run["task"] for run in runs):
        for per in ("packet", "flow"):
            rows = [run[per] for run in runs if run["task"] == task]
            found: dict[str, Any] = {
                f"{score}_{number}": statistics.fmean(row["scores"][score][number] for row in rows)
                for score in SCORES
                for number in ("auroc", "fpr_at_95_tpr")
            }
            thresholds = [row["threshold"] for row in rows if row["threshold"]]
            for number in ("kept_known", "rejected_unknown", "accuracy", "accuracy_kept"):
                known = [row[number] for row in thresholds if row[number] is not None]
                found[number] = statistics.fmean(known) if known else None
            table.setdefault(task, {})[per] = {key: rounded(value, DIGITS) for key, value in found.items()}
    return table


def write(out: Path, content: dict[str, Any]) -> None:
    """Keep what was found, one line per run."""
    lines = []
    for key, value in rounded(content, DIGITS).items():
        text = json.dumps(value)
        if key == "runs":
            text = "[\n " + ",\n ".join(map(json.dumps, value)) + "\n]"
        lines.append(f"{json.dumps(key)}: {text}")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, "{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    sys.exit(main())
