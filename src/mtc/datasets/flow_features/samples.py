"""Scaling and balancing of flow features before training."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.flow_features.balance import code_targets, grown_targets, synthesise, undersample
from mtc.datasets.flow_features.features import QuantileScaler
from mtc.datasets.samples import LabelledSamples
from mtc.errors import UsageError
from mtc.tasks import Tasks

BALANCED_TASK = "attack"
"""The task whose classes Table 2 balances."""


def are_features(samples: LabelledSamples) -> bool:
    """Whether samples are features of flows, and not bytes of packets."""
    return samples.data.dtype != np.uint8


def scale_samples(samples: LabelledSamples, scaler: QuantileScaler | None) -> LabelledSamples:
    """The samples with every feature in [0, 1]; packets as they are, which need no scaler.

    Raises:
        UsageError: Features without a scaler, or packets with one, or another number of features.
    """
    if are_features(samples) != (scaler is not None):
        kinds = ("packets", "flow features")
        raise UsageError(
            f"the model reads {kinds[scaler is not None]}, the dataset holds {kinds[are_features(samples)]}"
        )
    if scaler is None or not len(samples):
        return samples
    return replace(samples, data=scaler.transform(samples.dense()).reshape(-1))


def balance_samples(samples: LabelledSamples, tasks: Tasks, seed: int) -> LabelledSamples:
    """Balance training samples to Table 2: fewer benign ones, synthesised ones of rare attacks.

    Args:
        samples: The training part, already scaled: neighbours are sought among values in [0, 1].
        tasks: Task -> classes of the labels.
        seed: Seed of what is chosen and made.

    Returns:
        The samples that stay, in their order, then the synthesised ones, whose ``row`` is -1.

    Raises:
        UsageError: They are packets, or have no attack classes.
    """
    if not are_features(samples) or BALANCED_TASK not in tasks:
        raise UsageError(f"only flow features with the task {BALANCED_TASK!r} can be balanced")
    classes, codes = tasks[BALANCED_TASK], samples.labels[BALANCED_TASK]
    targets = code_targets(codes, classes)
    grown = grown_targets(codes, targets)
    rows = np.flatnonzero(np.isin(codes, list(grown)))
    values, made = synthesise(samples.dense(rows), codes[rows], grown, seed)
    return _with_made(samples, undersample(codes, targets, seed), values, _examples(codes, made))


def _examples(codes: NDArray[np.int64], made: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each synthesised row, a row of the same class, which has the same label of every task."""
    names, first = np.unique(codes, return_index=True)
    found: NDArray[np.int64] = first[np.searchsorted(names, made)]
    return found


def _with_made(
    samples: LabelledSamples,
    kept: NDArray[np.int64],
    values: NDArray[np.float32],
    examples: NDArray[np.int64],
) -> LabelledSamples:
    stay, like = samples.take(kept), samples.take(examples)
    none = np.full(len(like), -1, np.int32)
    labels: Mapping[str, NDArray[np.int64]] = {
        task: np.concatenate([stay.labels[task], like.labels[task]]) for task in samples.labels
    }
    return LabelledSamples(
        data=np.concatenate([stay.data, values.reshape(-1)]),
        offsets=np.concatenate([stay.offsets, stay.offsets[-1] + like.offsets[1:]]),
        labels=labels,
        flow=np.concatenate([stay.flow, none]),
        capture=np.concatenate([stay.capture, none]),
        time=np.concatenate([stay.time, np.zeros(len(like), np.int64)]),
        row=np.concatenate([stay.row, none.astype(np.int64)]),
    )
