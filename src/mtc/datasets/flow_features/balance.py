"""Balancing the classes of flow features: fewer benign rows, and synthesised rows of rare attacks.

Source: Sec. 3.2.3, Table 2. Reading: its counts are scaled to the benign rows at hand, and attack
classes that are larger already stay as they are.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.cicids2017.labels import BALANCED, IMBALANCED
from mtc.datasets.ragged import keyed_draws

NEIGHBOURS = 5
"""Neighbours that SMOTE interpolates towards; fewer where a class has fewer rows."""

ALGORITHM = "RandomUnderSampler and SMOTE/1"
"""Name and version of the balance, recorded in ``dataset.json``."""

_BENIGN = "Benign"


def balanced_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """How many rows each class should have.

    Args:
        counts: Class -> rows at hand.

    Returns:
        Class -> rows: Table 2's balanced counts times benign rows / 2,035,505, rounded. Benign rows are
        never made, and rows of attacks never left out. A class that Table 2 does not balance stays.
    """
    scale = counts.get(_BENIGN, 0) / IMBALANCED[_BENIGN]
    targets = {}
    for label, rows in counts.items():
        wanted = round(BALANCED.get(label, 0) * scale)
        targets[label] = min(rows, wanted) if label == _BENIGN else max(rows, wanted)
        if rows < 2:  # a single row has no neighbour to interpolate towards
            targets[label] = rows
    return targets


def code_targets(labels: NDArray[np.int64], classes: Sequence[str]) -> dict[int, int]:
    """``balanced_counts`` of rows, by the index of each class; ``labels`` is int64 (N,)."""
    sizes = np.bincount(labels, minlength=len(classes)).tolist()
    targets = balanced_counts(dict(zip(classes, sizes, strict=True)))
    return {classes.index(label): n for label, n in targets.items()}


def grown_targets(labels: NDArray[np.int64], targets: Mapping[int, int]) -> dict[int, int]:
    """Of targets by class, those that ask for more rows than ``labels``, int64 (N,), has."""
    return {code: n for code, n in targets.items() if n > np.count_nonzero(labels == code)}


def undersample(labels: NDArray[np.int64], targets: Mapping[int, int], seed: int) -> NDArray[np.int64]:
    """Choose rows at random where a class has more than its target.

    Args:
        labels: int64 (N,), class of each row.
        targets: Class -> rows wanted; a class that is not named keeps all.
        seed: Seed of the choice.

    Returns:
        int64 (M,), the rows kept, ascending.
    """
    sizes = np.bincount(labels, minlength=max(targets, default=0) + 1)
    fewer = {label: n for label, n in targets.items() if n < sizes[label]}
    if not fewer or np.count_nonzero(sizes) < 2:
        return np.arange(len(labels))
    from imblearn.under_sampling import RandomUnderSampler  # slow to import

    sampler = RandomUnderSampler(sampling_strategy=fewer, random_state=_state(seed, "undersample"))
    sampler.fit_resample(np.arange(len(labels))[:, None], labels)
    kept: NDArray[np.int64] = np.sort(sampler.sample_indices_).astype(np.int64)
    return kept


def synthesise(
    values: NDArray[Any], labels: NDArray[np.int64], wanted: Mapping[int, int], seed: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Make rows of classes that have too few, between a row and one of its nearest of the same class.

    Args:
        values: Float (N, F), finite.
        labels: int64 (N,), class of each row; classes that are not named in ``wanted`` do not count.
        wanted: Class -> rows it is to have, the ones there included.
        seed: Seed of the choice.

    Returns:
        ``values`` (M, F), of the same dtype, and ``labels`` int64 (M,) of the new rows alone, by class.
    """
    sizes = {label: int((labels == label).sum()) for label in sorted(wanted)}
    by_neighbours: dict[int, list[int]] = {}
    for label, size in sizes.items():
        if size >= 2 and wanted[label] > size:
            by_neighbours.setdefault(min(NEIGHBOURS, size - 1), []).append(label)
    made = [_smote(values, labels, {c: wanted[c] for c in of}, k, seed) for k, of in by_neighbours.items()]
    new_values = np.concatenate([values[:0], *(new for new, _ in made)])
    new_labels = np.concatenate([labels[:0], *(classes for _, classes in made)])
    order = np.argsort(new_labels, kind="stable")
    return new_values[order], new_labels[order]


def _smote(
    values: NDArray[Any], labels: NDArray[np.int64], wanted: dict[int, int], neighbours: int, seed: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    from imblearn.over_sampling import SMOTE  # slow to import

    rows = np.flatnonzero(np.isin(labels, list(wanted)))
    # A row of no class stands at the end, since SMOTE refuses to look at a single class.
    given = np.concatenate([values[rows], np.zeros((1, values.shape[1]), values.dtype)])
    classes = np.append(labels[rows], -1)
    sampler = SMOTE(
        sampling_strategy=wanted, k_neighbors=neighbours, random_state=_state(seed, f"smote {neighbours}")
    )
    with warnings.catch_warnings():
        # That this makes a class larger than the largest is what Table 2 asks for.
        warnings.filterwarnings("ignore", message="After over-sampling", category=UserWarning)
        grown, grown_classes = sampler.fit_resample(given, classes)
    return grown[len(given) :], grown_classes[len(given) :].astype(np.int64)


def _state(seed: int, purpose: str) -> int:
    """A seed that is independent for each purpose, of the 32 bits that NumPy's old generator takes."""
    return int(keyed_draws(seed, purpose, np.zeros(1, np.int64))[0] >> np.uint64(32))
