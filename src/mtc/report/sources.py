"""Inputs of a report: finished runs, sweeps, datasets and audits, recognised by their content."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtc.datasets.info import DatasetInfo
from mtc.errors import DatasetError, InputError
from mtc.files import read_json

Log = Mapping[str, Sequence[float | None]]
"""Column of a run's log -> its values, an epoch each."""


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run, or the scores of one evaluation.

    Attributes:
        name: Of its folder or file.
        metrics: The content of its ``metrics.json``.
        config: Its resolved settings; empty where they are not kept.
        recipe: The recipe's name, where it is kept.
        training: Of the model's card: epochs, minutes, samples a second, machine; empty if not kept.
        rows: Part -> rows of it that were used; empty if not kept.
        log: Its log; ``None`` if not kept.
        command: What it was made by, where that is kept.
        budget_minutes: Its time budget, where that is kept.
    """

    name: str
    metrics: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    log: Log | None = None
    command: str | None = None
    budget_minutes: float | None = None

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.metrics["dataset"]["name"])

    @property
    def split(self) -> str:
        """Name of the split."""
        return str(self.metrics["protocol"])

    @property
    def seed(self) -> int | None:
        """Seed of the run."""
        return self.metrics.get("seed")

    @property
    def part(self) -> str:
        """The part that is reported: the test part, or the only one that was scored."""
        parts = self.metrics["parts"]
        return "test" if "test" in parts else next(iter(parts))

    def scores(self, per: str) -> Mapping[str, Mapping[str, Any]]:
        """Task -> scores of the reported part, ``per`` packet or flow."""
        parts = self.metrics.get("flow_parts" if per == "flow" else "parts") or {}
        found: Mapping[str, Mapping[str, Any]] = parts.get(self.part) or {}
        return {task: scores for task, scores in found.items() if scores}


@dataclass(slots=True)
class Sources:
    """All that was found, each under its name.

    Attributes:
        runs: In the order in which they were named.
        sweeps: Name -> ``sweep.json``.
        datasets: Name -> ``dataset.json``.
        audits: Name -> ``audit.json``.
        open_sets: Name -> what ``scripts/open_set.py`` kept.
        paired: Name -> what ``mtc compare --paired --json`` printed.
        remarks: What was left out, and why.
    """

    runs: list[Run] = field(default_factory=list)
    sweeps: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    datasets: dict[str, DatasetInfo] = field(default_factory=dict)
    audits: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    open_sets: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    paired: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def load_sources(paths: Iterable[str | Path]) -> Sources:
    """Read everything that a report is made of.

    Args:
        paths: Run folders, sweep folders, dataset folders; JSON files of runs (``metrics.json``,
            ``results/NAME.json``), sweeps, datasets and audits; folders of any of these.

    Returns:
        What was found. A run that was named twice (its folder and its kept result, say) is there once.

    Raises:
        InputError: A path does not exist, cannot be read, or holds nothing of the kind.
    """
    sources = Sources()
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        if not _take(path, sources):
            raise InputError(f"{path}: neither a run, a sweep, a dataset nor an audit, nor a folder of them")
    _drop_repeated(sources)
    return sources


def _take(path: Path, sources: Sources) -> bool:
    """Read a path into ``sources``; whether there was anything in it."""
    if path.is_file():
        return _take_file(path, sources)
    if _take_folder(path, sources):
        return True
    files = [_take_file(file, sources, quiet=True) for file in sorted(path.glob("*.json"))]
    if any(files):
        return True
    folders = [_take_folder(folder, sources) for folder in sorted(path.iterdir()) if folder.is_dir()]
    return any(folders)  # of the list: every folder is to be read


def _take_folder(path: Path, sources: Sources) -> bool:
    """Read a folder that is a run, a sweep, a dataset or an audit itself."""
    found = False
    if (path / "metrics.json").is_file():
        sources.runs.append(_run_folder(path))
        found = True
        _take_dataset_of_run(path, sources)
    for name in ("sweep.json", "dataset.json", "audit.json"):
        if (path / name).is_file():
            found = _take_file(path / name, sources, name=path.name) or found
    return found


def _take_file(path: Path, sources: Sources, *, quiet: bool = False, name: str | None = None) -> bool:
    """Read a JSON file by what is in it."""
    try:
        content = read_json(path)
    except InputError as error:
        if not quiet:
            raise
        sources.remarks.append(f"left out: {error}")
        return False
    name = name or (path.parent.name if path.stem in ("metrics", "sweep", "audit") else path.stem)
    if isinstance(content.get("parts"), dict) and "protocol" in content:
        sources.runs.append(_run_file(name, content))
    elif content.get("kind") == "open-set" and "mean" in content:
        sources.open_sets[name] = content
    elif {"first", "second", "common_flows", "tasks"} <= content.keys():
        sources.paired[name] = content
    elif isinstance(content.get("points"), list):
        sources.sweeps[name] = content
    elif isinstance(content.get("fields"), list) and "verdict" in content:
        sources.audits[name] = content
    elif {"splits", "counts", "captures"} <= content.keys():
        info = DatasetInfo.from_dict(content, path)
        sources.datasets[info.name] = info
    else:
        if quiet:
            sources.remarks.append(f"left out: {path.name}, nothing that a report is made of")
        return False
    return True


def _run_folder(path: Path) -> Run:
    card = read_json(path / "model.json") if (path / "model.json").is_file() else {}
    config = read_json(path / "config.json") if (path / "config.json").is_file() else card.get("config", {})
    dataset = card.get("dataset", {})
    log = path / "epochs.csv"
    return Run(
        name=path.name,
        metrics=read_json(path / "metrics.json"),
        config=config,
        training=card.get("training", {}),
        rows={
            part: dataset[f"{part}_rows"]
            for part in ("train", "validation", "test")
            if f"{part}_rows" in dataset
        },
        log=_read_log(log) if log.is_file() else None,
        budget_minutes=config.get("train", {}).get("max_minutes") or None,
    )


def _run_file(name: str, content: dict[str, Any]) -> Run:
    about = content.get("run") or {}
    return Run(
        name=name,
        metrics=content,
        config=about.get("config", {}),
        recipe=about.get("recipe"),
        training=about.get("training", {}),
        rows=about.get("rows", {}),
        log=about.get("log"),
        command=about.get("command"),
        budget_minutes=about.get("budget_minutes"),
    )


def _read_log(path: Path) -> Log:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return {name: [float(row[name]) if row[name] else None for row in rows] for name in (rows or [{}])[0]}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not a readable log ({error})") from error


def _take_dataset_of_run(path: Path, sources: Sources) -> None:
    """The dataset that a run was trained on, if it is still there."""
    if not (path / "run.json").is_file():
        return
    folder = read_json(path / "run.json").get("dataset", {}).get("path")
    if folder is None or not (Path(folder) / "dataset.json").is_file():
        return
    try:
        info = DatasetInfo.read(Path(folder))
    except DatasetError as error:
        sources.remarks.append(f"left out: {error}")
        return
    sources.datasets.setdefault(info.name, info)


def _drop_repeated(sources: Sources) -> None:
    seen: dict[str, Run] = {}
    for run in sources.runs:
        # Settings, data and length make a run; what was kept without its settings is known by its scores.
        what = run.config or _rounded(run.metrics["parts"])
        key = json.dumps([what, run.metrics["dataset"], run.seed, run.metrics.get("epochs")], sort_keys=True)
        if key in seen:
            sources.remarks.append(f"left out: {run.name}, the same run as {seen[key].name}")
        else:
            seen[key] = run
    sources.runs = list(seen.values())


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
