"""Scores of a trained model on a part of a dataset, its own or another."""

from pathlib import Path
from typing import Any

from mtc.datasets import Dataset
from mtc.evaluation.predictions import Progress, predict
from mtc.training.scoring.calibration import Calibration
from mtc.training.scoring.scores import Part, flows_by_capture, rare_classes, score_part


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
