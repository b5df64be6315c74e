"""A shallow baseline: gradient-boosted trees on the leading bytes of the same samples.

Same split, same parts, same calibration, same scores as a trained network: what a network is worth
is what it has over this. Needs the extra ``baselines`` (LightGBM).
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.config import RunConfig
from mtc.datasets import Dataset, LabelledSamples
from mtc.errors import UsageError
from mtc.models.shallow.boosting import PARAMETERS, PATIENCE, macro_f1
from mtc.training.samples import absent_classes, trainable_tasks
from mtc.training.scoring.calibration import calibrate
from mtc.training.scoring.scores import Part, flows_by_capture, score_part

LEADING_BYTES = 400
"""Bytes of a sample that the trees see."""

SCORED = ("validation", "test")


def score_trees(
    dataset: Dataset,
    config: RunConfig,
    *,
    rounds: int = 300,
    threads: int = 0,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train a tree model for each task and score it.

    Args:
        dataset: What to train on.
        config: Settings that are shared with networks: seed, split and mask.
        rounds: Most boosting rounds; training stops when the validation part no longer improves.
        threads: Threads to train on; 0 is all.
        report: Called with a line after every task.

    Returns:
        As ``metrics.json``, with ``rounds`` (task -> rounds taken) in place of epochs.

    Raises:
        UsageError: LightGBM is not installed.
    """
    started = time.monotonic()
    train = _part(dataset, config, "train")
    parts = {name: _part(dataset, config, name) for name in SCORED}
    tasks = trainable_tasks(train, dataset.tasks)
    absent = {task: absent_classes(train.labels[task], len(tasks[task])) for task in tasks}
    bytes_of = {name: _leading(samples) for name, samples in (("train", train), *parts.items())}
    logits: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in SCORED}
    taken = {}
    for task, classes in tasks.items():
        labels = {"train": train.labels[task], "validation": parts["validation"].labels[task]}
        booster = _boost(bytes_of, labels, config.seed, rounds, threads)
        taken[task] = booster.best_iteration or booster.current_iteration()
        present = np.setdiff1d(np.arange(len(classes)), absent[task])
        for name in SCORED:
            scores = np.zeros((len(parts[name]), len(classes)))
            scores[:, present] = booster.predict(bytes_of[name], raw_score=True)
            logits[name][task] = scores
        report(f"{task}: {taken[task]} rounds, {time.monotonic() - started:.0f} s so far")

    judged = {
        name: Part(logits[name], {task: parts[name].labels[task] for task in tasks}, flows_by_capture(part))
        for name, part in parts.items()
    }
    known = judged["validation"]
    calibration = calibrate(known.logits, known.labels, known.flow, absent)
    scored = {name: score_part(part, tasks, calibration, absent) for name, part in judged.items()}
    return {
        "model": f"lightgbm on the leading {LEADING_BYTES} bytes",
        "protocol": config.data.split,
        "seed": config.seed,
        "dataset": {"name": dataset.info.name, "hash": dataset.hash, "rows": len(dataset)},
        "rounds": taken,
        "minutes": round((time.monotonic() - started) / 60, 3),
        "parts": {name: packets for name, (packets, _) in scored.items()},
        "flow_parts": {name: flows for name, (_, flows) in scored.items()},
    }


def _part(dataset: Dataset, config: RunConfig, name: str) -> LabelledSamples:
    return dataset.part(config.data.split, name, mask=config.data.mask)


def _leading(samples: LabelledSamples) -> NDArray[np.uint8]:
    """uint8 (N, 400), a bounded number of dense rows at a time."""
    leading = np.empty((len(samples), LEADING_BYTES), np.uint8)
    for start in range(0, len(samples), 8192):
        rows = np.arange(start, min(start + 8192, len(samples)))
        leading[rows] = samples.dense(rows)[:, :LEADING_BYTES]
    return leading


def _boost(
    data: dict[str, NDArray[np.uint8]],
    labels: dict[str, NDArray[np.int64]],
    seed: int,
    rounds: int,
    threads: int,
) -> Any:
    """One booster for the classes that the training part has; rows without a label are left out."""
    try:
        import lightgbm
    except ImportError as error:
        raise UsageError("the baseline needs LightGBM: pip install 'mtc-traffic[baselines]'") from error
    present = np.unique(labels["train"][labels["train"] >= 0])
    sets = {}
    for name, values in labels.items():
        rows = np.isin(values, present)
        classes = np.searchsorted(present, values[rows])
        weight = (len(classes) / np.maximum(np.bincount(classes), 1))[classes]  # every class counts alike
        sets[name] = lightgbm.Dataset(data[name][rows], classes, weight=weight)
    sets["validation"].reference = sets["train"]
    return lightgbm.train(
        {**PARAMETERS, "num_class": len(present), "seed": seed, "num_threads": threads},
        sets["train"],
        rounds,
        valid_sets=[sets["validation"]],
        feval=macro_f1,
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
