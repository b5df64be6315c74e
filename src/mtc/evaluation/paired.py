"""The difference between two models on the same samples, with an interval over flows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.metrics import DRAWS, draw_flows, interval, macro_scores
from mtc.tasks import UNLABELLED


@dataclass(frozen=True, slots=True)
class Pair:
    """Predictions of two models on the same N samples of one task.

    Attributes:
        labels: Integer (N,), index of the class, -1 where there is no label.
        first: Of the first model: float (N, C) probabilities, or integer (N,) predicted classes.
        second: Of the second, likewise.
        flow: Integer (N,), the flow of each sample. Where several pairs are compared, equal numbers in
            two pairs mean the same flow.
    """

    labels: NDArray[Any]
    first: NDArray[Any]
    second: NDArray[Any]
    flow: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference in macro F1 of the second model to the first.

    Attributes:
        first: Macro F1 of the first model, mean of the pairs.
        second: Of the second.
        difference: ``second - first``.
        interval: Ends of the 95 % interval of the difference, by bootstrap over flows.
        above_zero: Share of the bootstrap's draws in which the second model is better.
        by_pair: The difference in each pair.
        counted: Labels of the classes that the means are over, where a pair has samples of them.
        flows: Flows with a label.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    above_zero: float
    by_pair: tuple[float, ...]
    counted: tuple[str, ...]
    flows: int


def paired_difference(
    pairs: Pair | Sequence[Pair],
    classes: Sequence[str],
    *,
    rare: Sequence[str] = (),
    min_flows: int = 0,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Compare two models by a paired bootstrap: every draw scores both on the same flows.

    What makes a draw hard is hard for both models, so that the interval of their difference is narrower
    than what the intervals of the two show. Flows are drawn, not packets, which resemble one another
    within a flow. Of several pairs (seeds that each draw a split and train both models) the means are
    compared; a flow that is drawn is drawn in all of them, since pairs that share flows are not
    independent.

    Args:
        pairs: One, or one a seed.
        classes: The C class labels, in the order of the indices.
        rare: Labels of classes that do not enter the means, as in ``mtc.metrics.score``; predictions
            are the same.
        min_flows: Classes with fewer flows among the pairs do not enter them either.
        draws: Draws of the bootstrap.
        seed: Of the draws.

    Returns:
        The difference of macro F1, the mean over the classes with samples in a pair (in a draw, over
        those that the draw has).

    Raises:
        UsageError: Shapes that do not fit, or no label of a class that counts.
    """
    pairs = (pairs,) if isinstance(pairs, Pair) else tuple(pairs)
    for pair in pairs:
        _check(pair, len(classes))
    labelled = [np.flatnonzero(pair.labels != UNLABELLED) for pair in pairs]
    flows = np.unique(np.concatenate([pair.flow[rows] for pair, rows in zip(pairs, labelled, strict=True)]))
    counted = _counted(pairs, labelled, classes, rare, min_flows)
    tables = []
    for pair, rows in zip(pairs, labelled, strict=True):
        if not counted[np.unique(pair.labels[rows])].any():
            raise UsageError("there is no labelled sample of a class that counts")
        flow = np.searchsorted(flows, pair.flow[rows])
        shape = (len(flows), len(classes))
        tables.append(
            [_by_flow(pair.labels[rows], said[rows], flow, shape) for said in (pair.first, pair.second)]
        )

    every_flow = np.ones((1, len(flows)))
    known = np.array([[_scores(every_flow, table, counted)[0] for table in both] for both in tables])
    drawn = np.concatenate(
        [
            np.mean([_scores(times, b, counted) - _scores(times, a, counted) for a, b in tables], axis=0)
            for times in draw_flows(len(flows), len(classes), draws, seed)
        ]
    )
    first, second = known.mean(axis=0)
    low, high = interval(drawn)
    return Difference(
        first=float(first),
        second=float(second),
        difference=float(second - first),
        interval=(low, high),
        above_zero=float((drawn > 0).mean()),
        by_pair=tuple((known[:, 1] - known[:, 0]).tolist()),
        counted=tuple(label for label, counts in zip(classes, counted, strict=True) if counts),
        flows=len(flows),
    )


def _check(pair: Pair, classes: int) -> None:
    count = len(pair.labels)
    for said in (pair.first, pair.second):
        if said.ndim not in (1, 2) or len(said) != count or (said.ndim == 2 and said.shape[1] != classes):
            raise UsageError(f"labels {pair.labels.shape} and predictions {said.shape} do not fit")
    if len(pair.flow) != count:
        raise UsageError(f"labels {pair.labels.shape} and flows {pair.flow.shape} do not fit")
    if count and not UNLABELLED <= pair.labels.min() <= pair.labels.max() < classes:
        raise UsageError(f"labels must lie between -1 and {classes - 1}")


def _counted(
    pairs: Sequence[Pair],
    labelled: Sequence[NDArray[np.int64]],
    classes: Sequence[str],
    rare: Sequence[str],
    min_flows: int,
) -> NDArray[np.bool_]:
    """bool (classes,), those that enter the means."""
    known = [
        np.column_stack([pair.labels[rows], pair.flow[rows]])
        for pair, rows in zip(pairs, labelled, strict=True)
    ]
    of_flows = np.unique(np.concatenate(known), axis=0)[:, 0]
    flows = np.bincount(of_flows.astype(np.int64), minlength=len(classes))
    return (flows >= max(min_flows, 1)) & ~np.isin(np.array(classes), np.array(rare, dtype=str))


def _by_flow(
    labels: NDArray[Any], said: NDArray[Any], flow: NDArray[np.int64], shape: tuple[int, int]
) -> Any:
    """Sparse (flows, C * C), the confusion of each flow; ``shape`` is flows and C."""
    from scipy.sparse import csr_array  # slow to import

    flows, classes = shape
    predicted = said.argmax(axis=1) if said.ndim == 2 else said
    cells = labels.astype(np.int64) * classes + predicted
    return csr_array((np.ones(len(cells)), (flow, cells)), shape=(flows, classes**2))


def _scores(times: NDArray[np.float64], by_flow: Any, counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """float64 (draws,), macro F1 where each flow counts ``times`` (float64 (draws, flows)) as much."""
    confusion = (times @ by_flow).reshape(-1, len(counted), len(counted))
    return macro_scores(confusion, counted)["macro_f1"]


LEVEL = 0.95
"""Confidence of an interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score over seeds.

    Attributes:
        mean: Of the seeds' scores.
        half_width: Half of the 95 % interval of the mean; ``None`` with fewer than two seeds.
        count: Seeds.
    """

    mean: float
    half_width: float | None
    count: int


def estimate(scores: Sequence[float | None]) -> Estimate | None:
    """Estimate a score from seeds, by Student's t distribution.

    Args:
        scores: One a seed; ``None`` where a run has no such score, which is left out.

    Returns:
        The estimate; ``None`` where no run has a score.
    """
    known = np.array([score for score in scores if score is not None], np.float64)
    if not len(known):
        return None
    if len(known) == 1:
        return Estimate(float(known[0]), None, 1)
    from scipy.stats import t  # slow to import

    spread = known.std(ddof=1) / np.sqrt(len(known))
    half_width = float(t.ppf((1 + LEVEL) / 2, len(known) - 1) * spread)
    return Estimate(float(known.mean()), half_width, len(known))
