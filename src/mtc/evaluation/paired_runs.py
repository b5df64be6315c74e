"""Two trained models against each other, on the test parts of the runs of each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.evaluation.paired import Pair, paired_difference
from mtc.evaluation.predictions import Predictions, Progress, own_dataset, predict
from mtc.inference import find_model
from mtc.metrics import COMMON_FLOWS
from mtc.models import ModelCard, load_model
from mtc.models.flow_scores import flow_scores
from mtc.tasks import UNLABELLED
from mtc.training.scoring.calibration import log_probabilities
from mtc.training.scoring.scores import flows_by_capture, rare_classes

Paths = tuple[Path, Path]
"""A run of the first model, and one of the second with the same seed."""


def pair_runs(models: Sequence[str | Path]) -> list[Paths]:
    """Put the runs of two models together by their seeds.

    Args:
        models: Run folders, or names of bundled models. Runs that differ in their seed only are of one
            model; the first named run is of the first model.

    Raises:
        ModelError: One cannot be read.
        UsageError: They are not of two models, or a seed has no partner.
    """
    by_model: dict[str, dict[int, Path]] = {}
    for model in map(Path, models):
        card = load_model(find_model(model)).card
        by_model.setdefault(_identity(card), {})[card.config.seed] = model
    if len(models) == 2 and len(by_model) == 1:  # asked for two runs of one model: these two
        return [(Path(models[0]), Path(models[1]))]
    if len(by_model) != 2:
        raise UsageError(f"--paired compares the runs of two models, and here are those of {len(by_model)}")
    first, second = by_model.values()
    if len(first) == len(second) == 1:
        return list(zip(first.values(), second.values(), strict=True))
    if sum(map(len, by_model.values())) < len(models):
        raise UsageError("--paired: two runs of a model have the same seed")
    if alone := first.keys() ^ second.keys():
        raise UsageError(f"--paired: only one of the models has a run of seed {', '.join(map(str, alone))}")
    return [(first[seed], second[seed]) for seed in first]


def compare_runs(
    pairs: Sequence[Paths], *, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Score both models of every pair on its test part, and compare them; see docs/evaluation.md.

    Args:
        pairs: See ``pair_runs``.
        seed: Of the bootstrap.
        progress: For a progress bar.

    Returns:
        ``first``, ``second`` (the runs), ``split``, ``part``, and ``tasks``: task -> ``packet`` and
        ``flow`` -> ``all`` and ``common`` -> a ``mtc.evaluation.Difference`` as a dictionary; ``common``
        is without classes of fewer than 30 flows in the dataset, ``None`` where there is no other.

    Raises:
        ModelError: A model cannot be read.
        UsageError: The models of a pair were not tested on the same samples, or share no task.
    """
    predicted = [_predict_both(*pair, progress) for pair in pairs]
    models = [model for both in predicted for model in both]
    names = [task for task in models[0].classes if all(task in model.classes for model in models)]
    if not names:
        raise UsageError("the models share no task")
    tasks: dict[str, Any] = {}
    for task in names:
        classes = tuple(dict.fromkeys(label for model in models for label in model.classes[task]))
        rare = rare_classes(predicted[0][0].dataset)[task]
        verdicts = [_verdicts(task, classes, *both) for both in predicted]
        tasks[task] = {
            per: {
                "all": asdict(paired_difference(found, classes, seed=seed)),
                "common": _common(found, classes, rare, seed),
            }
            for per, found in (
                ("packet", [packets for packets, _ in verdicts]),
                ("flow", [flows for _, flows in verdicts]),
            )
        }
    one = predicted[0][0]
    return {
        "first": [str(first) for first, _ in pairs],
        "second": [str(second) for _, second in pairs],
        "split": one.split,
        "part": one.part,
        "common_flows": COMMON_FLOWS,
        "tasks": tasks,
    }


def _identity(card: ModelCard) -> str:
    settings = card.config.to_dict()
    del settings["seed"]
    return repr(settings)


def _predict_both(first: Path, second: Path, progress: Progress | None) -> tuple[Predictions, Predictions]:
    has_dataset = next((run for run in (first, second) if (find_model(run) / "run.json").is_file()), first)
    dataset = own_dataset(has_dataset)
    one, other = (predict(model, dataset, "test", progress=progress) for model in (first, second))
    for found in (one, other):
        if found.loaded.card.dataset.get("hash") != dataset.hash:
            raise UsageError(f"{found.name} was not trained on {dataset.path}, whose test part it may know")
    if one.split != other.split or not np.array_equal(one.samples.row, other.samples.row):
        raise UsageError(
            f"{first} was tested on the split {one.split}, {second} on {other.split}: they cannot be paired"
        )
    return one, other


def _common(
    pairs: Sequence[Pair], classes: Sequence[str], rare: Sequence[str], seed: int
) -> dict[str, Any] | None:
    kept = [i for i, label in enumerate(classes) if label not in rare]
    if not all(np.isin(pair.labels, kept).any() for pair in pairs):
        return None
    return asdict(paired_difference(pairs, classes, rare=rare, seed=seed))


def _verdicts(
    task: str, classes: Sequence[str], first: Predictions, second: Predictions
) -> tuple[Pair, Pair]:
    """Predictions of both models on packets, and on flows."""
    flow = _flow_numbers(first)
    labels = _numbered(first.labels[task], first.classes[task], classes)
    (packets, flows), (other_packets, other_flows) = (_said(task, classes, one) for one in (first, second))
    _, chosen = np.unique(flow, return_index=True)
    return (
        Pair(labels, packets, other_packets, flow),
        Pair(labels[chosen], flows, other_flows, flow[chosen]),
    )


def _said(task: str, classes: Sequence[str], one: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Predicted classes of packets, and of flows in the order of ``_flow_numbers``."""
    logits, absent, known = one.logits[task], one.loaded.absent[task], one.classes[task]
    packets = log_probabilities(logits, absent).argmax(axis=1)
    chosen, scores = flow_scores(logits, flows_by_capture(one.samples), absent)
    in_order = np.argsort(_flow_numbers(one)[chosen])
    flows = scores.argmax(axis=1)[in_order]
    return _numbered(packets, known, classes), _numbered(flows, known, classes)


def _numbered(values: NDArray[np.integer], known: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Indices in ``known`` as indices in ``classes``; -1 stays."""
    place: Mapping[str, int] = {label: i for i, label in enumerate(classes)}
    index = np.array([place[label] for label in known] + [UNLABELLED], np.int64)
    numbered: NDArray[np.int64] = index[values]
    return numbered


def _flow_numbers(one: Predictions) -> NDArray[np.int64]:
    """int64 (N,), equal for packets of a flow of a capture, in whatever split of the data they are."""
    samples = one.samples
    alone = samples.flow < 0
    flow = np.where(alone, -1 - samples.row, samples.flow.astype(np.int64))
    return np.where(alone, flow, flow + (samples.capture.astype(np.int64) << 32))
