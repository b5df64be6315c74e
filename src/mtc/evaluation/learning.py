"""A model of your own traffic: labels by evidence, flows without names, scores on what was not trained on."""

import csv
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.capture import Source
from mtc.config import RunConfig
from mtc.datasets import Dataset, build_captures
from mtc.errors import CaptureError, DatasetError, UsageError
from mtc.files import write_json, write_text
from mtc.flows.labels import COLUMNS, LabelledFlows
from mtc.flows.stream import read_sequences
from mtc.inference.sequence_aggregator import sequence_probabilities
from mtc.models import LoadedModel, load_model
from mtc.training.crossfit import Crossfit, crossfit, write_crossfit
from mtc.training.run_folder import prepare

LABELS, REPORT, LEARNED = "labels.csv", "report.md", "learned.json"
"""What stands beside the model: its labels, a page, and the same as JSON."""

DEFAULT_TASKS = ("application", "type", "traffic")
"""Columns of a labels file that are tasks unless others are named."""

TESTED = 0.3
"""Share of the flows that a split by group must test, or the next one is taken."""

CANDIDATES = ("extra-trees", "gradient-boosting")
"""Models that are compared, the first of which is always fitted."""


@dataclass
class Learned:
    """What was learned, and how well.

    Attributes:
        model: The name of the model that was kept.
        split: The split that the headline score is from, and ``by_flow`` the same model's by flow.
        scores: Model -> task -> macro F1 on groups that were not trained on.
        accuracy: Task -> share of right verdicts there.
        by_flow: Task -> macro F1 where flows are drawn at random.
        baseline: Task -> share of the largest class.
        classes: Task -> class -> flows.
        answered: Task -> share of the formerly unlabelled flows that get a label above the threshold.
        seconds: Wall time.
        notes: Sentences on what is missing or weak.
    """

    model: str = ""
    split: str = ""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    by_flow: dict[str, float] = field(default_factory=dict)
    baseline: dict[str, float] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    unlabelled: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def paragraph(self) -> str:
        """What came out, in words."""
        flows = {task: sum(counts.values()) for task, counts in self.classes.items()}
        parts = []
        for task, score in self.scores[self.model].items():
            parts.append(
                f"Task {task}: {len(self.classes[task])} classes, {flows[task]:,} labelled flows. On "
                f"{_groups(self.split)} that were not trained on, without any name, "
                f"{self.accuracy[task]:.0%} of the flows are right (macro F1 {score:.2f}; always the largest "
                f"class: {self.baseline[task]:.0%}; flows drawn at random, which flatters: "
                f"macro F1 {self.by_flow[task]:.2f})."
            )
            if self.unlabelled:
                parts.append(
                    f"Of the {self.unlabelled:,} flows that no evidence labels it answers "
                    f"{self.answered.get(task, 0):.0%}."
                )
            few = sorted(self.classes[task], key=lambda label: self.classes[task][label])[:3]
            parts.append(f"Capture more of {', '.join(few)}: they have the fewest flows.")
        return " ".join([*parts, *self.notes, f"Done in {self.seconds / 60:.1f} minutes by {self.model}."])

    def page(self, name: str) -> str:
        """A page in Markdown."""
        lines = [f"# {name}", "", self.paragraph(), ""]
        for task, counts in self.classes.items():
            lines += [f"## {task}", "", "| class | labelled flows |", "|---|--:|"]
            lines += [f"| {label} | {count:,} |" for label, count in counts.items()]
            lines += ["", f"| model | macro F1, {self.split}, names hidden |", "|---|--:|"]
            lines += [f"| {model} | {found[task]:.3f} |" for model, found in self.scores.items()]
            lines += [""]
        return "\n".join(lines)


def learn(
    labels: Path,
    out: Path,
    *,
    captures: Sequence[Source] = (),
    tasks: Sequence[str] = (),
    minutes: float = 10.0,
    seed: int = 1,
    started: float | None = None,
    force: bool = False,
) -> Learned:
    """Build a dataset of flows, compare models on groups that were not trained on, and write the best.

    Args:
        labels: A labels file, as ``mtc label`` writes it.
        out: The model's folder.
        captures: Captures whose unlabelled flows are answered, to say how many that are.
        tasks: Columns that are tasks; ``DEFAULT_TASKS`` of those that there are, where none is named.
        minutes: Wall time; a further model is only fitted where there is time for it.
        seed: Of splits, copies and trees.
        started: When the work began, as of ``time.monotonic``.
        force: Whether a model that is there is replaced.

    Raises:
        UsageError: The labels have no task.
        DatasetError: There are too few labelled flows.
        OutputError: ``out`` exists, or cannot be written.
    """
    began = time.monotonic() if started is None else started
    names = list(tasks) or _tasks_of(labels)
    prepare(out, RunConfig(), {"dataset": {"path": "", "hash": ""}}, resume=False, force=force)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        place = Path(folder) / "dataset"
        build_captures(labels, place, kind="flows", tasks=names, seed=seed, workers=1)
        dataset = Dataset.open(place)
        result = Learned()
        split = _headline_split(dataset, names, result)
        found = _compare(dataset, split, names, began + 60 * minutes, seed, result)
        by_flow = crossfit(replace(found.config, data=replace(found.config.data, split="flow")), dataset)
        result.by_flow = {task: value for task, (value, _) in _scores(by_flow).items()}
        _fill(result, found, dataset)
        write_crossfit(found, dataset, out, notes=_notes(result), force=True)
        shutil.move(str(place), out / "dataset")
    model = load_model(out)
    _answer(model, captures, labels, result)
    result.seconds = time.monotonic() - began
    if labels.resolve() != (out / LABELS).resolve():
        write_text(out / LABELS, labels.read_text(encoding="utf-8"))
    write_text(out / REPORT, result.page(out.name))
    write_json(out / LEARNED, result.__dict__)
    return result


def joined_labels(found: LabelledFlows, earlier: Path | None) -> LabelledFlows:
    """The labels of another model before new ones: a flow keeps its first label.

    Raises:
        UsageError: The other model has no labels.
    """
    if earlier is None:
        return found
    try:
        with (earlier / LABELS).open(encoding="utf-8", newline="") as file:
            rows = [{name: row.get(name, "") for name in COLUMNS} for row in csv.DictReader(file)]
    except OSError as error:
        raise UsageError(f"{earlier}: was not learned by mtc learn ({LABELS}: {error.strerror})") from error
    known = {(row["capture"], row["src"], row["src_port"], row["dst"], row["dst_port"]) for row in rows}
    fresh = [
        row
        for row in found.rows
        if (row["capture"], row["src"], row["src_port"], row["dst"], row["dst_port"]) not in known
    ]
    return replace(found, rows=rows + fresh)


def _tasks_of(labels: Path) -> list[str]:
    try:
        with labels.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DatasetError(f"{labels}: the labels cannot be read ({reason})") from error
    names = [name for name in DEFAULT_TASKS if any(row.get(name) for row in rows)]
    if not names:
        raise UsageError(f"{labels}: no column {', '.join(DEFAULT_TASKS)} with a label; --tasks names others")
    return names


def _headline_split(dataset: Dataset, tasks: Sequence[str], result: Learned) -> str:
    """By capture, or by host, or by program; by flow only where no group leaves enough to test."""
    wanted = ["group:program", "capture", "group:host", "flow"]
    for split in (name for name in wanted if name in dataset.splits):
        column = f"fold_{split}"
        folds = dataset.columns(column)[column]
        if (folds > 0).mean() >= TESTED and len(np.unique(folds[folds > 0])) >= 2:
            if split == "flow":
                result.notes.append(
                    "There are too few captures and hosts to keep some apart, so the score is by flow and "
                    "flatters: capture at other times and hosts."
                )
            return split
    raise DatasetError(f"{dataset.path}: too few flows to keep some for a test")


def _config(name: str, split: str, tasks: Sequence[str], seed: int) -> RunConfig:
    return RunConfig.from_dict(
        {
            "seed": seed,
            "data": {"split": split, "mask": "nameless", "tasks": list(tasks), "copies": 6},
            "model": {
                "name": name,
                "shallow_inputs": "flows",
                "forest_trees": 100,
                "forest_leaf": 10,
                "shallow_rows": 300_000,
            },
        }
    )


def _compare(
    dataset: Dataset, split: str, tasks: Sequence[str], deadline: float, seed: int, result: Learned
) -> Crossfit:
    """Fit the candidates as long as there is time; the best by the mean macro F1 of the tasks."""
    best: Crossfit | None = None
    longest = 0.0
    for name in CANDIDATES:
        # The next candidate, the score by flow and the final fit take about as long as the last did.
        if best is not None and time.monotonic() + 4 * longest > deadline:
            result.notes.append(f"There was no time to compare with {name}.")
            continue
        copies = 6 if dataset.info.rows <= 20_000 else 1
        config = _config(name, split, tasks, seed)
        config = replace(config, data=replace(config.data, copies=copies))
        try:
            found = crossfit(config, dataset)
        except UsageError as error:
            if best is None:
                raise
            result.notes.append(f"No comparison with {name}: {error}.")
            continue
        longest = max(longest, found.seconds)
        result.scores[name] = {task: value for task, (value, _) in _scores(found).items()}
        if best is None or _mean(result.scores[name]) > _mean(result.scores[result.model]):
            best, result.model = found, name
    assert best is not None
    result.split = split
    return best


def _scores(found: Crossfit) -> dict[str, tuple[float, float]]:
    """Task -> macro F1 and accuracy."""
    from mtc.metrics import score

    part, scores = found.part(), {}
    for task, classes in found.tasks.items():
        row = score(part.labels[task], part.logits[task].argmax(1), classes)
        scores[task] = float(row["macro_f1"] or 0.0), float(row["accuracy"] or 0.0)
    return scores


def _mean(scores: dict[str, float]) -> float:
    return float(np.mean(list(scores.values())))


def _fill(result: Learned, found: Crossfit, dataset: Dataset) -> None:
    result.accuracy = {task: value for task, (_, value) in _scores(found).items()}
    for task, classes in found.tasks.items():
        counts = np.bincount(
            (labels := dataset.columns(task)[task])[labels >= 0], minlength=len(classes)
        ).tolist()
        pairs = sorted(zip(classes, counts, strict=True), key=lambda pair: -pair[1])
        result.classes[task] = dict(pairs)
        tested = found.part().labels[task]
        tested = tested[tested >= 0]
        result.baseline[task] = float(np.bincount(tested).max() / len(tested)) if len(tested) else 0.0


def _notes(result: Learned) -> list[str]:
    return [
        "Learned by mtc learn from labels that names and protocols gave; it reads no name, address or port.",
        *result.notes,
    ]


def _answer(model: LoadedModel, captures: Sequence[Source], labels: Path, result: Learned) -> None:
    """Ask the model about the flows without a label."""
    with labels.open(encoding="utf-8-sig", newline="") as file:
        known = {_key(row.get("src"), row.get("src_port"), row.get("dst"), row.get("dst_port"))
                 for row in csv.DictReader(file)}  # fmt: skip
    answered: dict[str, list[NDArray[np.bool_]]] = {task: [] for task in model.card.tasks}
    for source in captures:
        try:
            rows, records, _ = read_sequences(source)
        except CaptureError:
            continue  # reported when it was labelled
        free = [
            at
            for at in range(len(records))
            if _key(records.address("src", at), records.src_port[at], records.address("dst", at),
                    records.dst_port[at]) not in known
        ]  # fmt: skip
        result.unlabelled += len(free)
        if not free:
            continue
        found = sequence_probabilities(model, np.ascontiguousarray(rows[free]), "exact")
        for task, values in found.items():
            answered[task].append(values.max(1) >= model.card.reject[task]["flow"]["threshold"])
    result.answered = {task: float(np.concatenate(parts).mean()) for task, parts in answered.items() if parts}


def _key(src: Any, src_port: Any, dst: Any, dst_port: Any) -> tuple[str, ...]:
    return (str(src), str(src_port), str(dst), str(dst_port))


def _groups(split: str) -> str:
    return {"capture": "captures", "flow": "flows"}.get(split, f"{split.partition(':')[2]}s")
