"""Many runs over values of settings and over seeds, by Optuna's grid sampler; resumable.

A sweep's folder:

sweep.json    the table (``mtc.evaluation.sweep``)
sweep.csv     the same as CSV
journal.log   Optuna's storage, one study a seed; for its dashboard, say
runs/         a run folder for every point and seed: 00-seed1, ...

The run folders are what counts: a study is built anew from them at each start, where finished runs
answer at once and unfinished ones go on from their checkpoint.
"""

import contextlib
import csv
import fcntl
import io
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtc.datasets import Dataset
from mtc.errors import OutputError, UsageError
from mtc.evaluation.paired import estimate
from mtc.evaluation.sweep_recipe import Sweep, point_text, toml_text
from mtc.extras import need
from mtc.files import read_json, write_json, write_text
from mtc.training import train

Metrics = Mapping[str, Any]
"""The content of a run's ``metrics.json``."""

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


TABLE, CSV, JOURNAL, PLAN = "sweep.json", "sweep.csv", "journal.log", "plan.json"

Callbacks = Callable[[], Sequence["Callback"]]


def run_sweep(
    sweep: Sweep,
    dataset: Dataset,
    out: str | Path,
    *,
    resume: bool = False,
    callbacks: Callbacks = tuple,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Do every run of a sweep that is not done: all points with the first seed, then with the next.

    Args:
        sweep: What to run.
        dataset: What to train on.
        out: The folder of the sweep.
        resume: Go on with the sweep that is there; seeds may have been added.
        callbacks: Called before each run for the training library's callbacks, to show progress.
        report: Called with a line before each run, and when one fails.

    Returns:
        The table, see ``mtc.evaluation.sweep.summarise``. A run that fails (its loss is no number,
        memory ran out) is reported there, and tried again when the sweep is resumed.

    Raises:
        UsageError: The sweep that is there has other settings, or Optuna is not installed.
        OutputError: Something is there already, or cannot be written.
        Interrupted: The process got SIGTERM; the state of its run was saved.
    """
    optuna = _optuna()
    out = Path(out).absolute()
    _prepare(out, sweep, resume=resume)
    sitting = _Sitting(sweep, dataset, out, callbacks, report)
    with _alone(out):
        journal = optuna.storages.journal.JournalFileBackend(str(out / JOURNAL))
        storage = optuna.storages.JournalStorage(journal)
        for seed in sweep.seeds:
            study = _new_study(optuna, storage, f"seed {seed}", sitting.grid)
            study.optimize(partial(sitting.objective, seed=seed), catch=(UsageError,))
        sitting.write()
    return sitting.table()


class _Sitting:
    """The runs of one start of a sweep."""

    def __init__(
        self, sweep: Sweep, dataset: Dataset, out: Path, callbacks: Callbacks, report: Callable[[str], None]
    ) -> None:
        self.sweep, self.dataset, self.out, self.callbacks, self.report = (
            sweep, dataset, out, callbacks, report
        )  # fmt: skip
        self.points = list(sweep.points())
        # Optuna's categories are plain values, and its storage keeps them: values as TOML.
        self.grid = {key: [toml_text(value) for value in values] for key, values in sweep.grid.items()}
        self.runs: dict[tuple[int, int], Metrics] = {}
        self.failures: dict[tuple[int, int], str] = {}

    def objective(self, trial: Any, seed: int) -> float:
        """Do the run that Optuna's trial stands for; its validation score."""
        chosen = {key: trial.suggest_categorical(key, values) for key, values in self.grid.items()}
        number = next(
            i for i, point in enumerate(self.points) if chosen == {k: toml_text(v) for k, v in point.items()}
        )
        folder = self.out / "runs" / f"{number:02d}-seed{seed}"
        trial.set_user_attr("run", str(folder.relative_to(self.out)))
        try:
            metrics = self.run(number, seed, folder)
        except UsageError as error:
            self.failures[number, seed] = str(error)
            self.report(f"failed: {error}")
            raise
        self.runs[number, seed] = metrics
        self.write()
        return validation_score(metrics)

    def run(self, number: int, seed: int, folder: Path) -> Metrics:
        """The metrics of a run, which is trained if it is not finished."""
        if (folder / "metrics.json").is_file():
            return read_json(folder / "metrics.json")
        count, total = len(self.runs) + len(self.failures) + 1, len(self.points) * len(self.sweep.seeds)
        self.report(f"[{count}/{total}] seed {seed}, {point_text(self.points[number]) or self.sweep.base}")
        config = self.sweep.config(self.points[number], seed)
        return train(config, self.dataset, folder, resume=True, callbacks=self.callbacks())

    def table(self) -> dict[str, Any]:
        """As far as it came."""
        return summarise(self.sweep, self.runs, self.failures)

    def write(self) -> None:
        """Write the table beside the runs."""
        table = self.table()
        write_json(self.out / TABLE, table)
        write_text(self.out / CSV, csv_text(table))


def _optuna() -> Any:
    optuna = need("optuna", extra="sweep")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _new_study(optuna: Any, storage: Any, name: str, grid: dict[str, list[str]]) -> Any:
    """A study without trials; one of an earlier start is given up, its runs are reported again."""
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
    sampler = optuna.samplers.GridSampler(grid or {"": [""]}, seed=0)
    return optuna.create_study(study_name=name, storage=storage, sampler=sampler, direction="maximize")


def _prepare(out: Path, sweep: Sweep, *, resume: bool) -> None:
    """Make the folder, or check that the sweep in it is the same but for its seeds."""
    plan = json.loads(
        json.dumps({"base": sweep.config(next(sweep.points()), 0).to_dict(), "grid": sweep.grid})
    )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / PLAN).is_file():
            raise OutputError(f"{out} exists already and is not a sweep")
        if not resume:
            raise OutputError(f"{out} exists already; take --resume to continue it")
        if read_json(out / PLAN) != plan:
            raise UsageError(f"{out} was begun with other settings")
    try:
        (out / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: not writable ({error.strerror})") from error
    write_json(out / PLAN, plan)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Refuse to work in a folder that another process works in."""
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"another process is at work in {out}") from error
        yield


SCORES = ("macro_f1", "macro_recall")


def validation_score(metrics: Metrics) -> float:
    """Score of a point of a sweep: macro F1 on the validation part, mean of the tasks."""
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
