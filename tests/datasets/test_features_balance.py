"""Balancing to Table 2's proportions."""

import numpy as np
import pytest

from mtc.datasets.cicids2017.labels import BALANCED, IMBALANCED
from mtc.datasets.flow_features.balance import balanced_counts, synthesise, undersample


def test_targets_are_those_of_table_2() -> None:
    counts = {name: IMBALANCED[name] for name in BALANCED}
    assert balanced_counts(counts) == dict(BALANCED)
    # A tenth of the benign rows: a tenth of every target, and what is larger stays.
    targets = balanced_counts({**counts, "Benign": 203_551})
    assert targets == {
        "Benign": 133_000,
        "DoS/DDoS": 320_269,
        "PortScan": 57_305,
        "Brute force": 8_551,
        "Web attack": 6_550,
        "Botnet ARES": 6_500,
    }


def test_targets_at_the_edges() -> None:
    assert balanced_counts({"Benign": 0, "PortScan": 5}) == {"Benign": 0, "PortScan": 5}
    assert balanced_counts({"Benign": 2_035_505, "PortScan": 1, "Infiltration": 36}) == {
        "Benign": 1_330_000,
        "PortScan": 1,
        "Infiltration": 36,
    }
    assert balanced_counts({"PortScan": 7}) == {"PortScan": 7}


def test_undersampling() -> None:
    labels = np.repeat([0, 1, 2], [100, 20, 5])
    kept = undersample(labels, {0: 30, 1: 40, 2: 5}, seed=4)
    assert np.bincount(labels[kept]).tolist() == [30, 20, 5]
    assert (np.diff(kept) > 0).all()
    assert np.array_equal(kept, undersample(labels, {0: 30, 1: 40, 2: 5}, seed=4))
    assert not np.array_equal(kept, undersample(labels, {0: 30, 1: 40, 2: 5}, seed=5))
    assert np.array_equal(undersample(labels, {0: 100}, seed=4), np.arange(125))
    assert np.array_equal(undersample(labels[:100], {0: 30}, seed=4), np.arange(100))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_synthesised_rows_lie_between_rows_of_their_class(dtype: type) -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2, 3], [50, 20, 3, 1])
    values = (rng.normal(size=(74, 4)) + 100 * labels[:, None]).astype(dtype)
    new, classes = synthesise(values, labels, {1: 33, 2: 10, 3: 9}, seed=4)
    assert new.dtype == dtype
    # Three rows have two neighbours each; a single one has none, and stays alone.
    assert np.bincount(classes).tolist() == [0, 13, 7]
    for row, label in zip(new, classes, strict=True):
        of_class = values[labels == label].astype(np.float64)
        # On a line between two rows: some pair has the row at the same share in every feature.
        one, other = np.nonzero(~np.eye(len(of_class), dtype=bool))
        share = (row - of_class[one]) / (of_class[other] - of_class[one])
        assert np.ptp(share, axis=1).min() < 1e-2
        assert ((share > -1e-3) & (share < 1.001)).all(axis=1).any()
    again, _ = synthesise(values, labels, {1: 33, 2: 10, 3: 9}, seed=4)
    assert np.array_equal(new, again)
    assert not np.array_equal(new, synthesise(values, labels, {1: 33, 2: 10, 3: 9}, seed=5)[0])


def test_nothing_to_synthesise() -> None:
    values, labels = np.zeros((5, 2)), np.zeros(5, np.int64)
    new, classes = synthesise(values, labels, {}, seed=1)
    assert new.shape == (0, 2)
    assert classes.shape == (0,)
