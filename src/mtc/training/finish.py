"""The end of a run: calibrate, score, write the model, its card and its metrics."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc import __version__
from mtc.config import RunConfig
from mtc.datasets import Dataset
from mtc.datasets.flow_features.samples import scale_samples
from mtc.errors import UsageError
from mtc.files import write_json
from mtc.metrics import Scores
from mtc.models import ModelCard, load_model, round_to_stored, save_model
from mtc.models.files.card import CARD, FORMAT_VERSION
from mtc.models.flow_scores import FLOW_PACKETS
from mtc.models.networks.base import Network
from mtc.tasks import Pairs, Tasks
from mtc.training.batches import absent_classes
from mtc.training.plan import Plan
from mtc.training.scoring.calibration import calibrate
from mtc.training.scoring.rejection import fit_rejection
from mtc.training.scoring.scores import rare_classes, run_network, score_part


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a run's training."""

    ended: str
    """Why it ended: ``epochs``, ``patience`` or ``time``; ``fitted`` where there are no epochs."""
    epochs: int
    """Epochs begun; where the time ended the run, the last one was not finished."""
    best_epoch: int
    """Epoch that the weights are from, from 1."""
    validation_loss: float | None
    """Of the best epoch."""
    minutes: float
    """Training and validation, over all sittings."""
    samples_per_s: float
    """Training samples a second, without validation."""
    precision: str
    """Arithmetic of the matrix products."""
    machine: str
    """Processor or accelerator, and threads."""


def write_model(
    out: Path, plan: Plan, network: Network, outcome: Outcome, fresh: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Calibrate and score a trained network; write the model and ``metrics.json``.

    Weights are rounded to what the file stores before anything is measured, so that the scores are
    those of the file.

    Args:
        out: The run folder.
        plan: What was trained, and on what.
        network: With the weights of the best epoch.
        outcome: How training went.
        fresh: Task -> classes that were new to the model that the run started from.

    Returns:
        The content of ``metrics.json``.
    """
    config, dataset, tasks, scaler = plan.config, plan.dataset, plan.tasks, plan.scaler
    train_part = plan.train_part
    round_to_stored(network)
    absent = {task: absent_classes(train_part.labels[task], len(tasks[task])) for task in tasks}
    found = measure(network, config, dataset, tasks, absent, scaler)
    metrics: dict[str, Any] = {
        "model": config.model.name,
        "protocol": config.data.split,
        "seed": config.seed,
        "dataset": {"name": dataset.info.name, "hash": dataset.hash, "rows": len(dataset)},
        "epochs": outcome.epochs,
        "train_samples_per_s": outcome.samples_per_s,
        "minutes": outcome.minutes,
        "parts": found.parts,
        "flow_parts": found.flow_parts,
        "reject": found.reject,
    }
    names = {task: [tasks[task][i] for i in indices] for task, indices in absent.items()}
    card = ModelCard(
        tasks=tasks,
        config=config,
        absent=names,
        pairs=label_pairs(train_part.labels, tasks),
        dataset=metrics["dataset"]
        | {"split": config.data.split, "train_rows": len(train_part)}
        | {f"{name}_rows": rows for name, rows in found.rows.items()}
        | ({} if scaler is None else {"synthesised_rows": int((train_part.row < 0).sum())}),
        training=asdict(outcome)
        | {"seed": config.seed}
        | ({"init": plan.start.to_dict()} if plan.start else {}),
        notes=[
            *_started(plan, fresh),
            *_notes(plan, names, metrics["parts"]["test"]),
        ],
        **_features(plan),
        **found.card_fields(),
    )
    save_model(out, network, card, scaler)
    write_json(out / "metrics.json", metrics)
    return metrics


def _features(plan: Plan) -> dict[str, Any]:
    """What the card says of flow features."""
    info = plan.dataset.info.features
    if plan.scaler is None or info is None:
        return {}
    validation = plan.dataset.part(plan.config.data.split, "validation", mask=plan.config.data.mask).dense()
    shares, _ = plan.scaler.unseen(validation)
    return {
        "features": info.selected,
        "convention": info.convention,
        "unseen": round(float(shares.mean()), 4) if len(shares) else 0.0,
    }


def label_pairs(labels: Mapping[str, NDArray[np.int64]], tasks: Tasks) -> Pairs:
    """The labels that stand together on at least one sample.

    Args:
        labels: Task -> int64 (N,), -1 where there is no label.
        tasks: The tasks, in their order.

    Returns:
        For each pair of tasks its labels, in their order; labels without the other task are skipped.
    """
    pairs: dict[str, dict[str, dict[str, list[str]]]] = {}
    for one, other in combinations(tasks, 2):
        together = np.zeros((len(tasks[one]), len(tasks[other])), bool)
        both = (labels[one] >= 0) & (labels[other] >= 0)
        together[labels[one][both], labels[other][both]] = True
        pairs.setdefault(one, {})[other] = {
            label: [tasks[other][j] for j in np.flatnonzero(row)]
            for label, row in zip(tasks[one], together, strict=True)
            if row.any()
        }
    return pairs


def _started(plan: Plan, fresh: Mapping[str, Sequence[str]]) -> list[str]:
    if plan.start is None:
        return []
    notes = [f"Started from the weights of {Path(plan.start.path).name} (sha256 {plan.start.hash[:16]})."]
    notes += [f"{task}: {', '.join(labels)} were new to them." for task, labels in fresh.items() if labels]
    frozen = plan.config.train.freeze
    return notes + ([f"Not trained: {', '.join(frozen)}."] if frozen else [])


def _notes(plan: Plan, absent: Mapping[str, Sequence[str]], scores: Mapping[str, Scores]) -> list[str]:
    notes = [
        f"{task}: no training sample of {', '.join(labels)}; never predicted."
        for task, labels in absent.items()
        if labels
    ]
    notes += [f"{task}: no label in the training part, not learned." for task in plan.untrained]
    for task, row in scores.items():
        classes = len(plan.tasks[task])
        if row["classes"] < classes:
            notes.append(f"{task}: {row['classes']} of {classes} classes have test samples.")
    return notes


SCORED = ("validation", "test")
"""Parts that a run scores."""

BULKY = ("confusion", "reliability", "interval")
"""Scores that the card leaves to ``metrics.json``."""

PartScores = dict[str, dict[str, Scores]]
"""Part -> task -> scores."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Calibration and scores of a network, in the form of ``model.json`` and ``metrics.json``."""

    calibration: dict[str, Any]
    reject: dict[str, Any]
    parts: PartScores
    flow_parts: PartScores
    rows: dict[str, int]
    """Part -> samples scored."""

    def card_fields(self) -> dict[str, Any]:
        """Fields of the model card."""
        metrics = {"parts": _brief(self.parts), "flow_parts": _brief(self.flow_parts)}
        return {
            "calibration": self.calibration,
            "reject": self.reject,
            "flow_packets": FLOW_PACKETS,
            "metrics": metrics,
        }


def measure(
    network: Network,
    config: RunConfig,
    dataset: Dataset,
    tasks: Tasks,
    absent: Mapping[str, NDArray[np.int64]],
    scaler: Any = None,
) -> Measured:
    """Fit temperatures and thresholds on the validation part; score validation and test part.

    Args:
        network: In evaluation mode, its weights rounded to what a file stores.
        config: Of the run.
        dataset: What it was trained on.
        tasks: Task -> classes.
        absent: Task -> classes without training samples.
        scaler: What brings flow features into [0, 1].
    """
    parts = {
        name: run_network(
            network, scale_samples(dataset.part(config.data.split, name, mask=config.data.mask), scaler)
        )
        for name in SCORED
    }
    known = parts["validation"]
    calibration = calibrate(known.logits, known.labels, known.flow, absent)
    rejection = fit_rejection(known.logits, known.labels, known.flow, absent, calibration)
    rare = rare_classes(dataset)
    scores = {name: score_part(part, tasks, calibration, absent, rare) for name, part in parts.items()}
    return Measured(
        calibration={task: asdict(temperatures) for task, temperatures in calibration.items()},
        reject={
            task: {per: asdict(found) for per, found in both.items()} for task, both in rejection.items()
        },
        parts={name: packets for name, (packets, _) in scores.items()},
        flow_parts={name: flows for name, (_, flows) in scores.items()},
        rows={name: len(part.flow) for name, part in parts.items()},
    )


def recalibrate(folder: Path, dataset: Dataset) -> Measured:
    """Measure a finished model anew, and write what is found into its files; its weights stay.

    For models of older versions, whose temperatures, thresholds or pairs of labels are missing or were
    fitted in another way.

    Args:
        folder: A run, or any folder with a model file.
        dataset: What it was trained on.

    Raises:
        UsageError: It was trained on something else.
    """
    model = load_model(folder)
    card, config = model.card, model.card.config
    if dataset.hash != card.dataset["hash"]:
        raise UsageError(f"{folder} was trained on another dataset than {dataset.path}")
    tasks = {task: tuple(labels) for task, labels in card.tasks.items()}
    found = measure(model.network, config, dataset, tasks, model.absent, model.scaler)
    pairs = label_pairs(dataset.part(config.data.split, "train", mask=config.data.mask).labels, tasks)
    changed = {**found.card_fields(), "pairs": pairs}
    card = replace(card, **changed, mtc_version=__version__, format_version=FORMAT_VERSION)
    (folder / CARD).write_text(card.to_json(), encoding="utf-8")
    metrics = folder / "metrics.json"
    if metrics.exists():
        scores = {"parts": found.parts, "flow_parts": found.flow_parts, "reject": found.reject}
        write_json(metrics, json.loads(metrics.read_text(encoding="utf-8")) | scores)
    return found


def _brief(parts: PartScores) -> PartScores:
    return {
        part: {
            task: {name: value for name, value in scores.items() if name not in BULKY}
            for task, scores in tasks.items()
        }
        for part, tasks in parts.items()
    }
