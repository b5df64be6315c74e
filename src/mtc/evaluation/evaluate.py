"""Scores of a trained model on a part of a dataset, its own or another."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import Dataset, LabelledSamples
from mtc.datasets.features_samples import scale_samples
from mtc.errors import UsageError
from mtc.evaluation.matching import match_labels, shared_tasks
from mtc.inference import find_model
from mtc.models import LoadedModel, load_model, predict_logits
from mtc.tasks import Tasks
from mtc.training.calibration import Calibration
from mtc.training.run_folder import read_json
from mtc.training.scoring import Part, flows_by_capture, rare_classes, score_part

Progress = Callable[[int, int], None]
"""Called with the samples done since the last call, and with all there are."""


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
    folder = find_model(model)
    loaded = load_model(folder)
    card = loaded.card
    if dataset is None:
        dataset = _own_dataset(folder)
    if part is None:
        part = "test" if dataset.hash == card.dataset.get("hash") else "all"
    tasks = shared_tasks(card, dataset)
    split = card.config.data.split if card.config.data.split in dataset.splits else dataset.splits[0]
    samples = scale_samples(dataset.part(split, part, mask=card.config.data.mask), loaded.scaler)
    if not len(samples):
        raise UsageError(f"{dataset.path}: the part {part!r} of the split {split!r} is empty")

    classes, labels = match_labels(tasks, dataset.tasks, samples.labels)
    packets, flows = _scores(loaded, samples, classes, labels, rare_classes(dataset), progress)
    return {
        "model": str(model),
        "protocol": split,
        "seed": card.config.seed,
        "dataset": {"name": dataset.info.name, "hash": dataset.hash, "rows": len(dataset)},
        "epochs": card.training.get("epochs"),
        "train_samples_per_s": card.training.get("samples_per_s"),
        "parts": {part: packets},
        "flow_parts": {part: flows},
        "reject": card.reject,
        "unknown_classes": {
            task: list(names[len(tasks[task]) :])
            for task, names in classes.items()
            if len(names) > len(tasks[task])
        },
        "left_out_tasks": sorted(card.tasks.keys() ^ dataset.tasks.keys()),
    }


def _own_dataset(folder: Path) -> Dataset:
    if not (folder / "run.json").is_file():
        raise UsageError(f"{folder} does not say which dataset it was trained on: give one with --data")
    return Dataset.open(read_json(folder / "run.json")["dataset"]["path"])


def _scores(
    loaded: LoadedModel,
    samples: LabelledSamples,
    classes: Tasks,
    labels: Mapping[str, NDArray[np.int64]],
    rare: Mapping[str, Sequence[str]],
    progress: Progress | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    def advance(done: int) -> None:
        if progress is not None:
            progress(done, len(samples))

    logits = predict_logits(loaded.network, samples.data, samples.offsets, advance=advance)
    packet, flow = loaded.temperatures("packet"), loaded.temperatures("flow")
    return score_part(
        Part({task: logits[task] for task in classes}, labels, flows_by_capture(samples)),
        classes,
        {task: Calibration(packet[task], flow[task]) for task in classes},
        loaded.absent,
        rare,
    )
