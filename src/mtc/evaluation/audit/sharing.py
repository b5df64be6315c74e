"""Leakage between parts of a split: shared flows, captures, pairs of ports, and near-duplicate samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import PARTS, Dataset, LabelledSamples, ragged
from mtc.datasets.flow_features.samples import are_features
from mtc.models.shallow.inputs import headers_of
from mtc.packets import mask_samples

MIN_PAYLOAD = 8
"""Bytes of payload that two packets must have to be called equal by it."""

RANK_CELLS = 100
"""Cells that the ranks of a feature are rounded to."""

LEAK_SHARE = 0.05
"""Share of a test part that may be duplicates of trained rows."""

_CHUNK = 8_192
_TRAIN, _TEST = PARTS.index("train"), PARTS.index("test")
_HEADERS = {4: 40, 6: 60}

Keys = NDArray[np.uint64]


def audit_splits(dataset: Dataset) -> dict[str, Any]:
    """What the parts of every stored split share, folds left aside; see ``splits`` in docs/audit.md.

    Args:
        dataset: What to look at, all rows of it.
    """
    splits = [name for name in dataset.splits if "/" not in name]
    found = {}
    keys = None
    for split in splits:
        samples = dataset.part(split, "all")
        if keys is None or are_features(samples):  # a split of features may have rows of its own
            keys = sharing_keys(samples)
        found[split] = audit_split(samples, keys, parts_of_rows(dataset, split)[samples.row])
    return found


def parts_of_rows(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """int64 (N,), index into ``PARTS`` of every row of the dataset; -1 for one that is in none."""
    parts = np.full(len(dataset), -1, np.int64)
    for i, part in enumerate(PARTS):
        parts[dataset.part(split, part).row] = i
    return parts


@dataclass(frozen=True, slots=True)
class SharingKeys:
    """Equal keys stand for rows that say the same; 0 for a row that has no such key.

    Attributes:
        port_pairs: uint64 (N,), protocol and both ports, in either direction; none for features.
        duplicates: Kind -> uint64 (N,).
    """

    port_pairs: Keys | None
    duplicates: Mapping[str, Keys]


def sharing_keys(samples: LabelledSamples) -> SharingKeys:
    """Keys by which rows are compared."""
    if are_features(samples):
        values = np.ascontiguousarray(samples.dense())
        exact = _hash_rows(values.view(np.uint32))
        ranks = np.empty(values.shape, np.uint64)
        for column in range(values.shape[1]):
            order = np.unique(values[:, column], return_inverse=True, return_counts=True)
            below = np.cumsum(order[2]) - order[2]
            ranks[:, column] = (RANK_CELLS * below[order[1]] / len(values)).astype(np.uint64)
        return SharingKeys(None, {"exact": exact, "near": _hash_rows(ranks)})
    count = len(samples)
    found = {name: np.zeros(count, np.uint64) for name in ("exact", "masked", "payload", "ports")}
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        dense = samples.dense(rows)
        found["exact"][rows] = _digests(dense)
        found["masked"][rows] = _digests(mask_samples(dense, "strict"))
        found["ports"][rows] = _port_pairs(dense)
        header = _header_lengths(dense)
        lengths = samples.offsets[rows + 1] - samples.offsets[rows]
        dense[np.arange(dense.shape[1]) < header[:, None]] = 0
        found["payload"][rows] = np.where(lengths - header >= MIN_PAYLOAD, _digests(dense), np.uint64(0))
    return SharingKeys(found.pop("ports"), found)


def audit_split(samples: LabelledSamples, keys: SharingKeys, parts: NDArray[np.int64]) -> dict[str, Any]:
    """Leakage of one split.

    Args:
        samples: All rows of the split.
        keys: Of these rows.
        parts: int64 (N,), index into ``PARTS``.

    Returns:
        An entry of ``splits``, see docs/audit.md.
    """
    features = are_features(samples)
    labels = samples.labels
    duplicates = {kind: shared(key, parts, labels) for kind, key in keys.duplicates.items()}
    flows = None if features else shared(samples.flow.astype(np.uint64) + np.uint64(1), parts, labels)
    return {
        "rows": {part: int((parts == i).sum()) for i, part in enumerate(PARTS)},
        "flows": flows,
        "captures": shared((samples.capture + 1).astype(np.uint64), parts, labels),
        "port_pairs": None if keys.port_pairs is None else shared(keys.port_pairs, parts, labels),
        "duplicates": duplicates,
        "leaks": bool(flows and flows["shared"]) or duplicates["exact"]["share"] >= LEAK_SHARE,
    }


def shared(keys: Keys, parts: NDArray[np.int64], labels: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    """Count what is in several parts: ``SHARED`` in docs/audit.md.

    Args:
        keys: uint64 (N,), 0 for rows without a key.
        parts: int64 (N,), index into ``PARTS``.
        labels: Task -> int64 (N,), -1 where there is none.
    """
    names, code = np.unique(keys, return_inverse=True)
    rows = np.zeros((len(names), len(PARTS)), np.int64)
    np.add.at(rows, (code, parts), 1)
    rows[names == 0] = 0
    again = (parts == _TEST) & (rows[code, _TRAIN] > 0)
    tests = int((parts == _TEST).sum())
    other = {}
    for task, label in labels.items():
        width = int(label.max(initial=0)) + 1
        cells = code * width + label
        trained = np.unique(cells[(parts == _TRAIN) & (label >= 0)])
        may_tell = again & (label >= 0) & np.isin(code, trained // width)
        other[task] = int((may_tell & ~np.isin(cells, trained)).sum())
    return {
        "distinct": int((rows.sum(axis=1) > 0).sum()),
        "shared": int(((rows > 0).sum(axis=1) > 1).sum()),
        "test_rows": int(again.sum()),
        "share": float(again.sum() / tests) if tests else 0.0,
        "other_label": other,
    }


def _digests(samples: NDArray[np.uint8]) -> Keys:
    digests: Keys = np.maximum(ragged.trim(np.ascontiguousarray(samples))[2], np.uint64(1))
    return digests


def _header_lengths(samples: NDArray[np.uint8]) -> NDArray[np.int64]:
    version, _ = headers_of(samples)
    return np.where(version == 6, _HEADERS[6], _HEADERS[4])


def _port_pairs(samples: NDArray[np.uint8]) -> Keys:
    _, protocol = headers_of(samples)
    start = _header_lengths(samples) - 20
    octets = samples[np.arange(len(samples))[:, None], start[:, None] + np.arange(4)].astype(np.uint64)
    first, second = octets[:, 0] << 8 | octets[:, 1], octets[:, 2] << 8 | octets[:, 3]
    low, high = np.minimum(first, second), np.maximum(first, second)
    pairs: Keys = protocol.astype(np.uint64) << 32 | low << 16 | high
    return pairs


def _hash_rows(values: NDArray[Any]) -> Keys:
    """A number that is equal for equal rows, and by chance alone for others."""
    factors = np.random.default_rng(0).integers(1, 2**63, values.shape[1], dtype=np.uint64) * 2 + 1
    hashed = (values.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
    mixed: Keys = np.maximum(hashed ^ hashed >> np.uint64(29), np.uint64(1))
    return mixed
