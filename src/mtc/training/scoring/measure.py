"""What is measured of a trained network: temperatures, thresholds and scores, and the model file anew."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc import __version__
from mtc.config import RunConfig
from mtc.datasets import Dataset
from mtc.datasets.flow_features.samples import scale_samples
from mtc.errors import UsageError
from mtc.metrics import Scores
from mtc.models import load_model
from mtc.models.files.card import CARD, FORMAT_VERSION
from mtc.models.networks.base import Network
from mtc.tasks import Tasks
from mtc.training.pairs import label_pairs
from mtc.training.run_folder import write_json
from mtc.training.scoring.calibration import FLOW_PACKETS, calibrate
from mtc.training.scoring.rejection import fit_rejection
from mtc.training.scoring.scores import rare_classes, run_network, score_part

SCORED = ("validation", "test")
"""Parts that a run scores."""

BULKY = ("confusion", "reliability", "interval")
"""Scores that the card leaves to ``metrics.json``."""

PartScores = dict[str, dict[str, Scores]]
"""Part -> task -> scores."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a network turned out to be, in the form of ``model.json`` and ``metrics.json``."""

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
