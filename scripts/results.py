"""Fill docs/results.md: every model on every protocol, run by run, beside the paper's Table 4.

    python scripts/results.py [--minutes 8] [--only iscx-flow] [--list] [--page]

Runs and their order are those of scripts/results.toml. A finished run leaves results/NAME.json, and is
not run again; an interrupted one goes on where it was. Run folders lie in results/work, datasets in data.
With the environment variable MTC_WAIT_FILE no run begins while that file exists.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtc.config import recipe_names
from results_page import write_page
from rounding import rounded

ROOT = Path(__file__).resolve().parents[1]
RESULTS, DATA = ROOT / "results", ROOT / "data"
MTC = [sys.executable, "-c", "from mtc.cli import main; main()"]
WAIT_S = 5
DIGITS = 6


@dataclass(frozen=True)
class Run:
    """One training run of a table."""

    table: str
    recipe: str
    dataset: str
    split: str
    seed: int
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.table}-{self.recipe.split('-', 1)[1]}-{self.seed}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8, help="time budget of every run")
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--list", action="store_true", help="only list the runs, and which are there")
    parser.add_argument("--page", action="store_true", help="only write docs/results.md")
    parser.add_argument("--set", action="append", default=[], help="a further setting, for trials")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "results.md", help="page to write")
    options = parser.parse_args()
    plan = tomllib.loads((ROOT / "scripts" / "results.toml").read_text(encoding="utf-8"))
    runs = [run for run in planned(plan, options.set) if options.only in run.name]
    if options.list:
        for run in runs:
            done = (options.results / f"{run.name}.json").is_file()
            print(f"{'done   ' if done else missing(run) or 'to do  '} {run.name}")
        return 0
    failed = 0 if options.page else run_all(runs, plan, options)
    write_page(plan, options.results, options.docs)
    return 1 if failed else 0


def planned(plan: dict[str, Any], more: list[str]) -> Iterator[Run]:
    """All runs in their order, each once."""
    rows = [(table, recipe) for table in plan["tables"] for recipe in table["recipes"]]
    first = [row for row in rows if f"{row[0]['name']}/{row[1]}" in plan["first"]]
    order = [(row, seed) for row in first for seed in plan["seeds"]]
    order += [(row, seed) for seed in plan["seeds"] for row in rows if row not in first]
    for (table, recipe), seed in order:
        settings = (*plan["settings"], *plan["extra"].get(recipe, ()), *more)
        yield Run(table["name"], recipe, table["dataset"], table["split"], seed, settings)


def run_all(runs: list[Run], plan: dict[str, Any], options: argparse.Namespace) -> int:
    """Do the runs that are not done, in order; the number of those that failed."""
    signal.signal(signal.SIGTERM, _stop)
    failed = 0
    for number, run in enumerate(runs, 1):
        if (options.results / f"{run.name}.json").is_file():
            continue
        reason = missing(run) or build(run.dataset, plan)
        if reason:
            print(f"{run.name}: left out, {reason}", flush=True)
            continue
        while (wait := os.environ.get("MTC_WAIT_FILE")) and Path(wait).exists():
            time.sleep(WAIT_S)
        print(f"[{number}/{len(runs)}] {run.name}", flush=True)
        if train(run, options):
            write_page(plan, options.results, options.docs)
        else:
            failed += 1
            print(f"{run.name}: failed, see {options.results}/work/{run.name}.log", flush=True)
    return failed


def missing(run: Run) -> str:
    """Why the run cannot be done, if it cannot."""
    return "" if run.recipe in recipe_names() else f"no recipe {run.recipe}"


def build(dataset: str, plan: dict[str, Any]) -> str:
    """Build the dataset unless it is there; why it cannot be built, if it cannot."""
    if (DATA / dataset / "dataset.json").is_file():
        return ""
    sources = Path(os.environ.get("MTC_DATA", ROOT.parent / "shared" / "data"))
    source = sources / plan["datasets"][dataset]["source"]
    if not source.exists():
        return f"neither data/{dataset} nor its source is there (set MTC_DATA)"
    command = [*plan["datasets"][dataset]["command"], str(source), str(DATA / dataset)]
    print(f"building data/{dataset} from {source}", flush=True)
    status = subprocess.run([*MTC, *command], check=False, stdout=subprocess.DEVNULL).returncode
    return "" if status in (0, 3) else f"data/{dataset} could not be built"


def train(run: Run, options: argparse.Namespace) -> bool:
    """Train in a process of its own, and keep what it came to; whether it finished."""
    work = options.results / "work"
    work.mkdir(parents=True, exist_ok=True)
    folder = work / run.name
    settings = [
        f"data.split={run.split}", f"seed={run.seed}", f"train.max_minutes={options.minutes:g}", *run.settings
    ]  # fmt: skip
    arguments = ["train", run.recipe, "--data", f"data/{run.dataset}", "--out"]
    changes = [argument for setting in settings for argument in ("--set", setting)]
    begun = time.monotonic()
    with (work / f"{run.name}.log").open("a") as log:
        command = [*MTC, *arguments, str(folder), *changes, "--resume", "--json"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)
        try:
            status = process.wait()
        except BaseException:  # asked to end: the run keeps its state, and the next call goes on
            process.terminate()
            process.wait()
            raise
    spent_s = _add_sitting(work / f"{run.name}.sittings", time.monotonic() - begun)
    if status:
        return False
    command_text = " ".join(["mtc", *arguments, f"results/work/{run.name}", *changes])
    keep(run, folder, options, spent_s, command_text)
    return True


def keep(run: Run, folder: Path, options: argparse.Namespace, spent_s: float, command: str) -> None:
    """Write results/NAME.json: metrics.json, and under ``run`` what it was and how long it took."""
    metrics, card = (json.loads((folder / f"{name}.json").read_text()) for name in ("metrics", "model"))
    metrics["run"] = {
        "table": run.table,
        "recipe": run.recipe,
        "command": command,
        "budget_minutes": options.minutes,
        "command_minutes": round(spent_s / 60, 3),
        "rows": {part: card["dataset"][f"{part}_rows"] for part in ("train", "validation", "test")},
        "training": card["training"],
        "config": card["config"],
        "log": _log(folder / "epochs.csv"),
    }
    target = options.results / f"{run.name}.json"
    partial = target.with_suffix(".partial")
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in rounded(metrics, DIGITS).items())
    partial.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    partial.replace(target)


def _log(path: Path) -> dict[str, list[float | None]]:
    """Column of the log -> its values, an epoch each: the learning curves; shallow models have none."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) if row[name] else None for row in rows] for name in (rows or [{}])[0]}


def _add_sitting(path: Path, seconds: float) -> float:
    """Seconds of all sittings of a run that came to an end of their own."""
    with path.open("a") as file:
        file.write(f"{seconds:.1f}\n")
    return sum(map(float, path.read_text().split()))


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
