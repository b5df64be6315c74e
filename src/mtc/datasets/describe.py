"""The counts of ``dataset.json``: what there was, what is left, and what the splits share."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.assemble import KeptRows, SplitColumns, Staged
from mtc.datasets.flows import count_spread
from mtc.datasets.info import CaptureInfo, ClassCounts, FileInfo, FlowCounts, RuleInfo, SplitInfo
from mtc.datasets.leakage import measure_leakage
from mtc.datasets.splits import FRACTIONS, PARTS, SPLITS
from mtc.tasks import Tasks

NO_LABEL = ""
"""Stands for "no label" where counts are given by label."""


def describe_file(path: Path, name: str) -> FileInfo:
    """Size and hash of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileInfo(name, path.stat().st_size, digest)


def content_hash(files: Sequence[FileInfo], tasks: Tasks) -> str:
    """Identity of a dataset: its files by content, and its tasks."""
    content = {"files": [file.sha256 for file in files], "tasks": {t: list(c) for t, c in tasks.items()}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def describe_captures(captures: Sequence[Staged], rows: KeptRows) -> tuple[CaptureInfo, ...]:
    """One entry a capture, in the order of the dataset."""
    return tuple(
        CaptureInfo(
            capture=staged.capture.name,
            file=staged.capture.file,
            format=staged.read.format,
            link_types=staged.read.link_types,
            labels=dict(staged.capture.rules[0].labels) if staged.capture.whole else {},
            vpn=staged.capture.rules[0].vpn if staged.capture.whole else None,
            packets=staged.read.packets,
            samples=staged.read.samples,
            kept=int(mask.sum()),
            left_out=staged.read.left_out,
            flows=len(staged.read.flow_keys),
            damage=staged.read.damage,
            rules=() if staged.capture.whole else _describe_rules(i, staged, rows),
        )
        for i, (staged, mask) in enumerate(zip(captures, rows.masks, strict=True))
    )


def _describe_rules(i: int, staged: Staged, rows: KeptRows) -> tuple[RuleInfo, ...]:
    kept = np.bincount(rows.rule[rows.capture == i], minlength=len(staged.capture.rules)).tolist()
    return tuple(
        RuleInfo(dict(rule.text), dict(rule.labels), rule.vpn, packets, samples, kept[r])
        for r, (rule, (packets, samples)) in enumerate(
            zip(staged.capture.rules, staged.read.rules, strict=True)
        )
    )


def count_classes(captures: Sequence[CaptureInfo], tasks: Tasks) -> dict[str, dict[str, ClassCounts]]:
    """Task -> label -> packets after each step; labels without packets are named with 0."""
    parts = [part for capture in captures for part in capture.rules or (capture,)]
    counts: dict[str, dict[str, ClassCounts]] = {}
    for task, classes in tasks.items():
        counts[task] = {}
        for label in (*classes, NO_LABEL):
            mine = [c for c in parts if (c.labels.get(task) or NO_LABEL) == label]
            counts[task][label] = ClassCounts(
                packets=sum(c.packets for c in mine),
                samples=sum(c.samples for c in mine),
                kept=sum(c.kept for c in mine),
            )
    return counts


def count_flows(rows: KeptRows, balance_by: str) -> FlowCounts:
    """Biflows over the dataset, and how many of them several captures share."""
    return FlowCounts(
        total=rows.flows,
        with_rows=len(np.unique(rows.flow)),
        in_several_captures=count_spread(rows.flow, rows.capture),
        under_different_labels=count_spread(rows.flow, rows.labels[balance_by]),
    )


def total_left_out(captures: Sequence[CaptureInfo]) -> dict[str, int]:
    """Reason -> packets, over all captures."""
    total: Counter[str] = Counter()
    for capture in captures:
        total.update(capture.left_out)
    return dict(sorted(total.items()))


def total_link_types(captures: Sequence[CaptureInfo]) -> dict[str, int]:
    """LINKTYPE number -> captures."""
    total = Counter(link_type for capture in captures for link_type in capture.link_types)
    return {str(link_type): n for link_type, n in sorted(total.items())}


def describe_splits(splits: SplitColumns, rows: KeptRows, tasks: Tasks, seed: int) -> dict[str, SplitInfo]:
    """Split -> how it was made, what it came to, and what its parts share; folds behind the splits."""
    return {split: _describe_split(split, parts, splits.count, rows, tasks, seed) for split, parts in splits}


def _describe_split(
    split: str, parts: NDArray[np.uint8], folds: int, rows: KeptRows, tasks: Tasks, seed: int
) -> SplitInfo:
    name, _, fold = split.partition("/")
    shares = ((folds - 2) / folds, 1 / folds, 1 / folds) if fold else FRACTIONS
    algorithm = SPLITS[name].algorithm
    inside = {part: parts == i for i, part in enumerate(PARTS)}
    counts = count_parts(parts, rows.labels, tasks)
    return SplitInfo(
        algorithm=f"{algorithm}, fold {fold} of {folds}" if fold else algorithm,
        seed=seed,
        fractions=dict(zip(PARTS, shares, strict=True)),
        rows={part: int(mask.sum()) for part, mask in inside.items()},
        flows={part: len(np.unique(rows.flow[mask])) for part, mask in inside.items()},
        counts=counts,
        only_trained=only_trained(counts),
        leakage=measure_leakage(parts, rows.flow, rows.capture, rows.digests),
    )


def count_parts(
    parts: NDArray[np.uint8], labels: Mapping[str, NDArray[np.int64]], tasks: Tasks
) -> dict[str, dict[str, dict[str, int]]]:
    """Task -> label -> part -> rows; the label ``""`` counts rows without one."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for task, classes in tasks.items():
        # Row 0 counts what has no label.
        table = np.zeros((len(classes) + 1, len(PARTS)), np.int64)
        np.add.at(table, (labels[task] + 1, parts), 1)
        names = [NO_LABEL, *classes]
        by_label = {names[i]: dict(zip(PARTS, table[i].tolist(), strict=True)) for i in range(len(names))}
        counts[task] = {label: by_label[label] for label in (*classes, NO_LABEL)}
    return counts


def only_trained(counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, tuple[str, ...]]:
    """Task -> classes whose rows are all in the training part, by the result of ``count_parts``."""
    return {
        task: tuple(
            label
            for label, rows in labels.items()
            if label != NO_LABEL and rows["train"] == sum(rows.values()) > 0
        )
        for task, labels in counts.items()
    }


def absent_classes(counts: Mapping[str, Mapping[str, ClassCounts]]) -> dict[str, tuple[str, ...]]:
    """Task -> classes without any row."""
    return {
        task: tuple(label for label, n in labels.items() if label != NO_LABEL and not n.kept)
        for task, labels in counts.items()
    }


def plain_settings(**settings: Any) -> dict[str, Any]:
    """Settings as JSON gives them back, so that what is written equals what is read."""
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain
