"""Counts for ``dataset.json``: packets read, rows kept, and what the splits share."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.build.selection import ChosenRows, Staged
from mtc.datasets.build.selection import count_spread
from mtc.datasets.info import CaptureInfo, ClassCounts, FlowCounts, RuleInfo, SplitInfo
from mtc.datasets.splits.splits import FRACTIONS, PARTS, SplitPlan
from mtc.datasets.build.tally import SplitTally
from mtc.tasks import Tasks

NO_LABEL = ""
"""Stands for "no label" where counts are given by label."""


def describe_captures(chosen: ChosenRows) -> tuple[CaptureInfo, ...]:
    """One entry per capture, in the order of the dataset."""
    kept = np.split(chosen.all_rows.survey.kind_rows, chosen.first_kinds[1:-1])
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
            kept=sum(rows),
            left_out=staged.read.left_out,
            flows=staged.read.flows,
            damage=staged.read.damage,
            rules=() if staged.capture.whole else _describe_rules(staged, rows),
        )
        for staged, rows in zip(chosen.captures, (rows.tolist() for rows in kept), strict=True)
    )


def _describe_rules(staged: Staged, kept: Sequence[int]) -> tuple[RuleInfo, ...]:
    return tuple(
        RuleInfo(dict(rule.text), dict(rule.labels), rule.vpn, packets, samples, rows)
        for rule, (packets, samples), rows in zip(staged.capture.rules, staged.read.rules, kept, strict=True)
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


def count_flows(chosen: ChosenRows, balance_by: str) -> FlowCounts:
    """Biflows over the dataset, and how many of them several captures share."""
    survey = chosen.all_rows.survey
    return FlowCounts(
        total=chosen.flows,
        with_rows=len(np.unique(survey.flow)),
        in_several_captures=count_spread(survey.flow, survey.kinds.capture[survey.kind]),
        under_different_labels=count_spread(survey.flow, chosen.labels[balance_by][survey.kind]),
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


def describe_splits(
    splits: Mapping[str, SplitTally],
    labels: Mapping[str, NDArray[np.int64]],
    tasks: Tasks,
    seed: int,
    plan: SplitPlan,
) -> dict[str, SplitInfo]:
    """Split -> how it was made, what it came to, and what its parts share; folds behind the splits.

    Args:
        splits: What was counted.
        labels: Task -> int64 (kinds,).
        tasks: Task -> classes.
        seed: Seed of the splits.
        plan: How they were made.
    """
    described = {}
    for split, tally in splits.items():
        name, _, fold = split.partition("/")
        algorithm, fractions = name_split(plan.algorithms[name], fold, plan.counts.get(name, 0))
        counts = count_parts(tally.rows, labels, tasks)
        described[split] = SplitInfo(
            algorithm=algorithm,
            seed=seed,
            fractions=fractions,
            rows=dict(zip(PARTS, tally.rows.sum(axis=0).tolist(), strict=True)),
            flows=dict(zip(PARTS, tally.flows.tolist(), strict=True)),
            counts=counts,
            only_trained=only_trained(counts),
            leakage=tally.leakage,
        )
    return described


def name_split(algorithm: str, fold: str, folds: int) -> tuple[str, dict[str, float]]:
    """How ``dataset.json`` names a split, and the share of each part; ``fold`` is empty for no fold."""
    if not fold:
        return algorithm, dict(zip(PARTS, FRACTIONS, strict=True))
    shares = ((folds - 2) / folds, 1 / folds, 1 / folds)
    return f"{algorithm}, fold {fold} of {folds}", dict(zip(PARTS, shares, strict=True))


def count_parts(
    rows: NDArray[np.int64], labels: Mapping[str, NDArray[np.int64]], tasks: Tasks
) -> dict[str, dict[str, dict[str, int]]]:
    """Task -> label -> part -> rows; the label ``""`` counts rows without one.

    Args:
        rows: int64 (kinds, parts), rows of each kind in each part.
        labels: Task -> int64 (kinds,), index of the class.
        tasks: Task -> classes.
    """
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for task, classes in tasks.items():
        # Row 0 counts what has no label.
        table = np.zeros((len(classes) + 1, len(PARTS)), np.int64)
        np.add.at(table, labels[task] + 1, rows)
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
