"""The counts of ``dataset.json``: what there was, what is left, and what the splits share."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.assemble import KeptRows, Staged
from mtc.datasets.flows import count_spread
from mtc.datasets.info import CaptureInfo, ClassCounts, FileInfo, FlowCounts, SplitInfo
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
            labels=dict(staged.capture.labels),
            vpn=staged.capture.vpn,
            packets=staged.read.packets,
            samples=staged.read.samples,
            kept=int(mask.sum()),
            left_out=staged.read.left_out,
            flows=len(staged.read.flow_keys),
            damage=staged.read.damage,
        )
        for staged, mask in zip(captures, rows.masks, strict=True)
    )


def count_classes(captures: Sequence[CaptureInfo], tasks: Tasks) -> dict[str, dict[str, ClassCounts]]:
    """Task -> label -> packets after each step; labels without packets are named with 0."""
    counts: dict[str, dict[str, ClassCounts]] = {}
    for task, classes in tasks.items():
        counts[task] = {}
        for label in (*classes, NO_LABEL):
            mine = [c for c in captures if (c.labels.get(task) or NO_LABEL) == label]
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


def describe_split(name: str, parts: NDArray[np.uint8], rows: KeptRows, tasks: Tasks, seed: int) -> SplitInfo:
    """How a split was made, what it came to, and what its parts share."""
    inside = {part: parts == i for i, part in enumerate(PARTS)}
    return SplitInfo(
        algorithm=SPLITS[name].algorithm,
        seed=seed,
        fractions=dict(zip(PARTS, FRACTIONS, strict=True)),
        rows={part: int(mask.sum()) for part, mask in inside.items()},
        flows={part: len(np.unique(rows.flow[mask])) for part, mask in inside.items()},
        counts=count_parts(parts, rows.labels, tasks),
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
