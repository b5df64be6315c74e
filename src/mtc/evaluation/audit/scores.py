"""A shallow model on the stored splits, under both masks: what protocol and shortcuts are worth."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.datasets import Dataset, LabelledSamples
from mtc.datasets.flow_features.samples import are_features
from mtc.evaluation.audit.fields import IDENTIFYING_FEATURES
from mtc.metrics import score
from mtc.models import build_network, predict_logits
from mtc.models.shallow.base import ShallowNetwork
from mtc.training.batches import trainable_tasks

HONEST = {"packets": "flow", "features": "honest"}
FLATTERING = {"packets": "packet", "features": "paper"}
"""Kind of dataset -> the split whose scores hold for the unseen, and the one that the paper has."""

SHOWN = ("macro_f1", "macro_recall", "accuracy", "weighted_f1", "support", "classes")

QUICK = {"leading_bytes": 128, "forest_trees": 20, "boosting_rounds": 100}
"""Settings of the shallow model: differences are asked for here, and not the best score."""

Protocol = tuple[str, str, str]
"""Split, mask and inputs."""


def protocols(dataset: Dataset) -> list[Protocol]:
    """Protocols that are trained and tested, as far as the dataset holds their splits."""
    kind = dataset.info.kind
    honest, flattering = HONEST[kind], FLATTERING[kind]
    inputs = "bytes" if kind == "packets" else "features"
    wanted = [(split, mask, inputs) for split in (honest, flattering) for mask in ("paper", "strict")]
    if kind == "packets":
        wanted += [(honest, "paper", "fields"), ("capture", "strict", inputs)]
    return [protocol for protocol in wanted if protocol[0] in dataset.splits]


def audit_scores(
    dataset: Dataset,
    shallow: str,
    *,
    rows: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Train and test a shallow model by every protocol; see ``scores`` in docs/audit.md.

    Args:
        dataset: What to train and test on.
        shallow: Name of a shallow model.
        rows: Most rows of a part.
        seed: Of the model, and of the rows drawn.
        advance: Called after every protocol.
    """
    found = []
    for split, mask, inputs in protocols(dataset):
        train, validation, test = (
            draw_rows(masked_part(dataset, split, part, mask), rows, seed)
            for part in ("train", "validation", "test")
        )
        tasks = trainable_tasks(train, dataset.tasks) if len(train) and len(test) else {}
        found.append(
            {
                "model": shallow,
                "inputs": inputs,
                "split": split,
                "mask": mask,
                "train_rows": len(train),
                "test_rows": len(test),
                "tasks": _scores(tasks, train, validation, test, shallow, inputs, seed),
            }
        )
        advance()
    return found


def masked_part(dataset: Dataset, split: str, part: str, mask: str) -> LabelledSamples:
    """A part under a mask; ``strict`` hides the identifying features of flows as it does header fields."""
    if dataset.info.features is None or mask == "paper":
        return dataset.part(split, part, mask="strict" if mask == "strict" else "paper")
    samples = dataset.part(split, part)
    values = samples.dense()
    values[:, [name in IDENTIFYING_FEATURES for name in dataset.info.features.selected]] = 0
    return replace(samples, data=values.reshape(-1))


def draw_rows(samples: LabelledSamples, rows: int, seed: int) -> LabelledSamples:
    """At most ``rows`` of the samples, drawn at random."""
    if len(samples) <= rows:
        return samples
    chosen = np.random.default_rng(seed).choice(len(samples), rows, replace=False)
    return samples.take(np.sort(chosen))


def draw_flows(samples: LabelledSamples, rows: int, seed: int) -> LabelledSamples:
    """Whole flows of the samples, drawn at random until there are about ``rows``."""
    if are_features(samples) or len(samples) <= rows:
        return draw_rows(samples, rows, seed)
    names, flow, sizes = np.unique(samples.flow, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    kept = order[np.cumsum(sizes[order]) <= rows]
    chosen = np.flatnonzero(np.isin(flow, kept))
    return samples.take(chosen if len(chosen) else np.arange(rows))


def gap_table(
    scores: list[dict[str, Any]], kind: str, tasks: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, float | None]]:
    """Task -> what the flattering split and the paper's mask add; see ``gap`` in docs/audit.md."""
    f1 = {
        (row["split"], row["mask"], task): found["macro_f1"]
        for row in scores
        if row["inputs"] != "fields"
        for task, found in row["tasks"].items()
    }
    honest, flattering = HONEST[kind], FLATTERING[kind]
    table = {}
    for task in tasks:
        packet, flow, strict = (
            f1.get((split, mask, task))
            for split, mask in ((flattering, "paper"), (honest, "paper"), (honest, "strict"))
        )
        table[task] = {
            "packet": packet,
            "flow": flow,
            "difference": None if packet is None or flow is None else packet - flow,
            "paper": flow,
            "strict": strict,
            "mask_difference": None if flow is None or strict is None else flow - strict,
        }
    return table


def _scores(
    tasks: Mapping[str, tuple[str, ...]],
    train: LabelledSamples,
    validation: LabelledSamples,
    test: LabelledSamples,
    shallow: str,
    inputs: str,
    seed: int,
) -> dict[str, Any]:
    if not tasks:
        return {}
    length = 1500 if not are_features(train) else len(train.dense(np.arange(1))[0])
    settings: dict[str, Any] = {"name": shallow, "tokens": 1, "width": length, "heads": 1, **QUICK}
    if inputs == "fields":
        settings["shallow_inputs"] = inputs
    network = build_network(ModelConfig(**settings), tasks)
    assert isinstance(network, ShallowNetwork)
    network.fit(train, validation, seed)
    logits = predict_logits(network.eval(), test.data, test.offsets)
    result = {}
    for task, classes in tasks.items():
        found = score(test.labels[task], logits[task].argmax(axis=1), classes)
        majority = _majority(train.labels[task], test.labels[task], classes)
        result[task] = {**{name: found[name] for name in SHOWN}, "majority": majority}
    return result


def _majority(train: NDArray[np.int64], test: NDArray[np.int64], classes: tuple[str, ...]) -> float | None:
    most = np.bincount(train[train >= 0]).argmax()
    always: float | None = score(test, np.full(len(test), most), classes)["macro_f1"]
    return always
