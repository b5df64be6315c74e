"""Classical models of flows, measured fold by fold on groups not trained on, then fitted on all flows.

What a network keeps back for validation and test a small capture cannot spare. So every fold of a split
(by program, capture, host) is predicted by a model of the others; temperatures, thresholds and scores come
from these predictions, and the model that is written has seen every flow.
"""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.config import RunConfig
from mtc.datasets import Dataset, LabelledSamples
from mtc.errors import DatasetError
from mtc.files import write_json
from mtc.flows.augment import CUTS
from mtc.metrics import Scores
from mtc.models import ModelCard, build_network, round_to_stored, save_model
from mtc.models.shallow.base import ShallowNetwork
from mtc.models.temperature import Logits, Temperature
from mtc.tasks import UNLABELLED, Tasks
from mtc.training.batches import absent_classes, chosen_tasks, trainable_tasks
from mtc.training.finish import label_pairs
from mtc.training.run_folder import prepare
from mtc.training.scoring.calibration import calibrate
from mtc.training.scoring.cuts import (
    REFERENCE,
    add_copies,
    choose_threshold,
    cut_to,
    measure_cuts,
    reference_of,
    sequence_rows,
    with_rows,
)
from mtc.training.scoring.scores import Part, score_part


@dataclass(frozen=True)
class Crossfit:
    """What models of the other folds said of every flow.

    Attributes:
        config: Settings of the models.
        tasks: Task -> classes.
        samples: The flows that were predicted.
        logits: Packets -> task -> float (N, classes); rows of flows with fewer packets are NaN, but for the
            largest number, where a flow counts with all that it has.
        absent: Task -> classes without a flow.
        seconds: Wall time.
    """

    config: RunConfig
    tasks: Tasks
    samples: LabelledSamples
    logits: Mapping[int, Mapping[str, Logits]]
    absent: Mapping[str, NDArray[np.int64]]
    seconds: float

    def part(self) -> Part:
        """The predictions on whole flows, as scores take them."""
        return Part(self.logits[CUTS[-1]], self.samples.labels, np.arange(len(self.samples)))

    def held_out(self) -> dict[int, Any]:
        """What ``measure_cuts`` takes."""
        found = {}
        for packets, logits in self.logits.items():
            known = ~np.isnan(next(iter(logits.values()))[:, 0])
            known &= self.samples.data.reshape(len(self.samples), -1)[:, 2] >= packets
            if known.any():
                found[packets] = (
                    {task: values[known] for task, values in logits.items()},
                    {task: self.samples.labels[task][known] for task in self.tasks},
                )
        return found


def crossfit(config: RunConfig, dataset: Dataset) -> Crossfit:
    """Predict every flow by a model of the folds that it is not in.

    Args:
        config: Of a classical model on flows; ``data.split`` names a split that has folds.
        dataset: Of kind ``flows``.

    Raises:
        DatasetError: There is nothing to train on.
    """
    started = time.monotonic()
    samples, folds = _rows(config, dataset)
    tasks = trainable_tasks(samples, chosen_tasks(config.data.tasks, dataset.tasks))
    absent = {task: absent_classes(samples.labels[task], len(tasks[task])) for task in tasks}
    tested = np.flatnonzero(folds > 0)
    logits: dict[int, dict[str, Logits]] = {
        packets: {task: np.full((len(samples), len(classes)), np.nan) for task, classes in tasks.items()}
        for packets in CUTS
    }
    for fold in np.unique(folds[tested]).tolist():
        rows = np.flatnonzero(folds == fold)
        network = fit(config, tasks, samples.take(np.flatnonzero(folds != fold)))
        test = samples.take(rows)
        counts = test.data.reshape(len(test), -1)[:, 2]
        for packets in CUTS:
            # At the largest number a shorter flow is seen whole: that is the verdict at its end.
            chosen = counts >= packets if packets < CUTS[-1] else np.ones(len(test), np.bool_)
            part = cut_to(test, packets) if packets < CUTS[-1] else test
            for task, values in predict(network, part).items():
                logits[packets][task][rows[chosen]] = values
    some = samples.take(tested)
    chosen_logits = {
        n: {task: values[tested] for task, values in found.items()} for n, found in logits.items()
    }
    return Crossfit(config, tasks, some, chosen_logits, absent, time.monotonic() - started)


def fit(config: RunConfig, tasks: Tasks, samples: LabelledSamples) -> ShallowNetwork:
    """Fit a classical model on flows and their copies."""
    network = build_network(config.model, tasks)
    assert isinstance(network, ShallowNetwork)
    network.fit(add_copies(samples, config.data.copies, config.seed), samples, config.seed)
    round_to_stored(network)
    return network


def predict(network: ShallowNetwork, samples: LabelledSamples) -> dict[str, NDArray[np.float64]]:
    """Task -> logits, float64 (N, classes)."""
    values = network.inputs(samples.data, samples.offsets)
    return {task: network.task_logits(task, values) for task in network.classes}


def write_crossfit(
    found: Crossfit, dataset: Dataset, out: Path, *, notes: Sequence[str] = (), force: bool = False
) -> dict[str, Any]:
    """Fit the model on all flows and write its run folder, calibrated and scored by ``found``.

    Returns:
        The content of ``metrics.json``; the scores of its part ``test`` are those of the folds.

    Raises:
        OutputError: Something is there already, or cannot be written.
    """
    config, tasks = found.config, found.tasks
    origin = {"dataset": {"path": str(Path(dataset.path).absolute()), "hash": dataset.hash}}
    prepare(out, config, origin, resume=False, force=force)
    started = time.monotonic()
    samples, _ = _rows(config, dataset)
    network = fit(config, tasks, samples)
    minutes = round((found.seconds + time.monotonic() - started) / 60, 3)
    part = found.part()
    calibration = calibrate(part.logits, part.labels, part.flow, found.absent)
    reject = {
        task: {
            per: rejection(part, task, found.absent[task], getattr(both, per)) for per in ("packet", "flow")
        }
        for task, both in calibration.items()
    }
    scores, flow_scores = score_part(part, tasks, calibration, found.absent)
    of_cuts, reject_cuts, cuts = measure_cuts(found.held_out(), tasks, found.absent)
    metrics: dict[str, Any] = {
        "model": config.model.name,
        "protocol": f"{config.data.split}, every fold by a model of the others",
        "seed": config.seed,
        "dataset": {"name": dataset.info.name, "hash": dataset.hash, "rows": len(dataset)},
        "epochs": 1,
        "train_samples_per_s": round(len(samples) / max(60 * minutes, 1e-3), 2),
        "minutes": minutes,
        "parts": {"test": scores},
        "flow_parts": {"test": flow_scores},
        "reject": reject,
        "cuts": cuts,
    }
    card = ModelCard(
        tasks=tasks,
        config=config,
        calibration={
            task: {"packet": asdict(both.packet), "flow": asdict(both.flow), **of_cuts[task]}
            for task, both in calibration.items()
        },
        absent={task: [tasks[task][i] for i in rows] for task, rows in found.absent.items()},
        reject={task: {**both, **reject_cuts[task]} for task, both in reject.items()},
        pairs=label_pairs(samples.labels, tasks),
        flow_packets=CUTS[-1],
        dataset=metrics["dataset"]
        | {
            "split": config.data.split,
            "train_rows": len(samples),
            REFERENCE: reference_of(sequence_rows(samples)),
        },
        training={"minutes": minutes, "seed": config.seed, "machine": platform.machine(), "ended": "fitted"},
        metrics={"flow_parts": {"test": _brief(flow_scores)}, "cuts": cuts},
        notes=[*notes, *_absent_notes(found)],
    )
    write_json(out / "config.json", config.to_dict())
    write_json(out / "run.json", {**origin, "ended": "fitted", "epochs": 1, "minutes": minutes})
    save_model(out, network.eval(), card)
    write_json(out / "metrics.json", metrics)
    return metrics


def rejection(part: Part, task: str, absent: NDArray[np.int64], temperature: Temperature) -> dict[str, Any]:
    """When a verdict of a task is unknown, as in the card; see ``choose_threshold``."""
    known = part.labels[task] != UNLABELLED
    values, labels = part.logits[task][known], part.labels[task][known]
    return choose_threshold(np.exp(temperature.log_probabilities(values, absent)), labels)


def _rows(config: RunConfig, dataset: Dataset) -> tuple[LabelledSamples, NDArray[np.int64]]:
    """All flows of a dataset that have a label, and the fold of each; 0 is trained on in every fold."""
    if dataset.info.kind != "flows":
        raise DatasetError(f"{dataset.path}: holds {dataset.info.kind}, not flows (--kind flows)")
    samples = dataset.part(config.data.split, "all")
    column = f"fold_{config.data.split}"
    folds = dataset.columns(column)[column][samples.row]
    tasks = chosen_tasks(config.data.tasks, dataset.tasks)
    known = np.logical_or.reduce([samples.labels[task] != UNLABELLED for task in tasks])
    kept = np.flatnonzero(known)
    if len(kept) < 2:
        raise DatasetError(f"{dataset.path}: {len(kept)} flows with a label are too few")
    samples = samples.take(kept)
    whole = with_rows(samples, sequence_rows(samples))
    return whole, folds[kept]


def _brief(scores: Mapping[str, Scores]) -> dict[str, Any]:
    bulky = ("confusion", "reliability", "interval")
    return {task: {n: v for n, v in row.items() if n not in bulky} for task, row in scores.items()}


def _absent_notes(found: Crossfit) -> list[str]:
    return [
        f"{task}: no flow of {', '.join(found.tasks[task][i] for i in rows)}; never predicted."
        for task, rows in found.absent.items()
        if len(rows)
    ]
