"""Scores of a trained model on a part of a dataset, its own or another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import Dataset, LabelledSamples
from mtc.datasets.flow_features.samples import scale_samples
from mtc.errors import UsageError
from mtc.files import read_json
from mtc.inference import find_model
from mtc.models import LoadedModel, ModelCard, load_model
from mtc.models.temperature import Logits
from mtc.tasks import UNLABELLED, Tasks
from mtc.training.scoring.calibration import Calibration
from mtc.training.scoring.scores import Part, flows_by_capture, rare_classes, score_part

Progress = Callable[[int, int], None]
"""Called with the samples done since the last call, and with all there are."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """A model, samples, and what it says of them.

    Attributes:
        name: The model, as it was named.
        loaded: The model.
        dataset: Where the samples are from.
        split: The split of which they are a part.
        part: The part.
        samples: As the model sees them.
        classes: Task -> the model's classes, and behind them those that only the dataset has; of the
            tasks that both have.
        labels: Task -> int64 (N,), index in ``classes``, -1 where there is no label.
        logits: Task -> float (N, classes of the model).
    """

    name: str
    loaded: LoadedModel
    dataset: Dataset
    split: str
    part: str
    samples: LabelledSamples
    classes: Tasks
    labels: Mapping[str, NDArray[np.int64]]
    logits: Mapping[str, Logits]


def own_dataset(model: str | Path) -> Dataset:
    """The dataset that a run was trained on.

    Raises:
        UsageError: The model is no run, and does not say.
        DatasetError: The dataset is not there any more.
    """
    folder = find_model(model)
    if not (folder / "run.json").is_file():
        raise UsageError(f"{folder} does not say which dataset it was trained on: give one with --data")
    return Dataset.open(read_json(folder / "run.json")["dataset"]["path"])


def predict(
    model: str | Path,
    dataset: Dataset | None = None,
    part: str | None = None,
    *,
    progress: Progress | None = None,
) -> Predictions:
    """Let a model look at a part of a dataset; arguments and errors as of ``mtc.evaluation.predictions``."""
    loaded = load_model(find_model(model))
    card = loaded.card
    dataset = own_dataset(model) if dataset is None else dataset
    if part is None:
        part = "test" if dataset.hash == card.dataset.get("hash") else "all"
    tasks = shared_tasks(card, dataset)
    split = card.config.data.split if card.config.data.split in dataset.splits else dataset.splits[0]
    samples = scale_samples(dataset.part(split, part, mask=card.config.data.mask), loaded.scaler)
    if not len(samples):
        raise UsageError(f"{dataset.path}: the part {part!r} of the split {split!r} is empty")

    def advance(done: int) -> None:
        if progress is not None:
            progress(done, len(samples))

    classes, labels = match_labels(tasks, dataset.tasks, samples.labels)
    logits = loaded.logits(samples.data, samples.offsets, advance=advance)
    return Predictions(
        name=str(model),
        loaded=loaded,
        dataset=dataset,
        split=split,
        part=part,
        samples=samples,
        classes=classes,
        labels=labels,
        logits={task: logits[task] for task in classes},
    )


def shared_tasks(card: ModelCard, dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """The model's tasks that a dataset has too, with the model's classes.

    Raises:
        UsageError: There is none, or the dataset holds other features than the model reads.
    """
    tasks = {task: tuple(classes) for task, classes in card.tasks.items() if task in dataset.tasks}
    if not tasks:
        raise UsageError(
            f"the model knows {', '.join(card.tasks)}, and the dataset has {', '.join(dataset.tasks)}: "
            "no task in common"
        )
    if dataset.info.features is not None and dataset.info.features.selected != tuple(card.features):
        raise UsageError(f"{dataset.path}: holds other features than the model reads")
    return tasks


def match_labels(
    tasks: Tasks, dataset_tasks: Tasks, labels: Mapping[str, NDArray[np.int64]]
) -> tuple[dict[str, tuple[str, ...]], dict[str, NDArray[np.int64]]]:
    """Number a dataset's labels as a model does; labels that it does not know come behind.

    Args:
        tasks: Task -> classes of the model.
        dataset_tasks: Task -> classes of the dataset.
        labels: Task -> int64 (N,), as the dataset numbers them, -1 where there is none.

    Returns:
        Task -> classes, those that the model does not know behind, and task -> int64 (N,).
    """
    classes, matched = {}, {}
    for task, known in tasks.items():
        unknown = tuple(label for label in dataset_tasks[task] if label not in known)
        classes[task] = tuple(known) + unknown
        place = {label: i for i, label in enumerate(classes[task])}
        index = np.array([place[label] for label in dataset_tasks[task]] + [UNLABELLED], np.int64)
        matched[task] = index[labels[task]]  # -1, no label, takes the last
    return classes, matched


def evaluate(
    model: str | Path,
    dataset: Dataset | None = None,
    part: str | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a model.

    Classes are matched by their labels. A label that the model does not know counts as a class that
    is never predicted; a task that only one of both has is left out, and named.

    Args:
        model: A run folder, any folder with a model file, or the name of a bundled model.
        dataset: What to score on; the run's own dataset if left out.
        part: ``train``, ``validation``, ``test`` or ``all``; if left out, the test part of the
            dataset that the model was trained on, and all of another.
        progress: For a progress bar.

    Returns:
        As ``metrics.json``: ``parts`` with the scores of packets and ``flow_parts`` with those of
        flows; also ``model``, ``unknown_classes`` and ``left_out_tasks``.

    Raises:
        ModelError: The model cannot be read.
        UsageError: Model and dataset share no task, or there is nothing to score.
    """
    found = predict(model, dataset, part, progress=progress)
    card, classes = found.loaded.card, found.classes
    packet, flow = found.loaded.temperatures("packet"), found.loaded.temperatures("flow")
    packets, flows = score_part(
        Part(found.logits, found.labels, flows_by_capture(found.samples)),
        classes,
        {task: Calibration(packet[task], flow[task]) for task in classes},
        found.loaded.absent,
        rare_classes(found.dataset),
    )
    return {
        "model": str(model),
        "protocol": found.split,
        "seed": card.config.seed,
        "dataset": {
            "name": found.dataset.info.name,
            "hash": found.dataset.hash,
            "rows": len(found.dataset),
        },
        "epochs": card.training.get("epochs"),
        "train_samples_per_s": card.training.get("samples_per_s"),
        "parts": {found.part: packets},
        "flow_parts": {found.part: flows},
        "reject": card.reject,
        "unknown_classes": {
            task: list(names[len(card.tasks[task]) :])
            for task, names in classes.items()
            if len(names) > len(card.tasks[task])
        },
        "left_out_tasks": sorted(card.tasks.keys() ^ found.dataset.tasks.keys()),
    }
