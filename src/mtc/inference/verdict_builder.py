"""From probabilities to the verdicts of a row: its tasks, whether it is VPN, and conflicting labels."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtc.columns import CONFLICT, UNKNOWN, VPN
from mtc.models import ModelCard
from mtc.tasks import VPN_LABELS, Pairs, Tasks, vpn_classes

DECIMALS = 6
"""Decimals of the probabilities in a row."""

Probabilities = Mapping[str, NDArray[np.float32]]
Below = Mapping[str, NDArray[np.bool_]]


def below_thresholds(
    card: ModelCard,
    per: Literal["packet", "flow"],
    probabilities: Probabilities,
    energies: Mapping[str, NDArray[np.float64]],
) -> Below:
    """Which verdicts are less sure than the model's threshold.

    Args:
        card: Of the model; a task without a stored threshold is never below.
        per: What has the verdicts; rows of flow features are packets here.
        probabilities: Task -> float32 (N, classes), calibrated.
        energies: Task -> float64 (N,), see ``mtc.models.flow_scores``.

    Returns:
        Task -> bool (N,), for tasks with a threshold.
    """
    below = {}
    for task, values in probabilities.items():
        rule = card.reject.get(task, {}).get(per)
        if rule is not None:
            sure = np.round(values.max(1).astype(np.float64), DECIMALS)
            score = energies[task] if rule["score"] == "energy" else sure
            below[task] = score < float(rule["threshold"])
    return below


def verdict(classes: Sequence[str], probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """One task's verdict: ``{"label", "confidence", "probabilities"}``.

    Args:
        classes: Labels of the task.
        probabilities: float32 (classes,), calibrated.
    """
    return next(_verdicts(classes, probabilities[None]))


class VerdictBuilder:
    """Turns probabilities into the fields of verdict rows.

    They are those of the tasks, ``vpn`` where a task separates types over VPN from others, and
    ``conflict``: the pairs of tasks whose labels never stood together in the training data, such as an
    application that never has that type of traffic; None where there is no such pair.
    """

    def __init__(self, tasks: Tasks, pairs: Pairs) -> None:
        """Prepare for a model.

        Args:
            tasks: Task -> labels.
            pairs: Which labels occurred together in training, see ``mtc.tasks``; tasks that are
                not in it conflict with nothing.
        """
        self.tasks = tasks
        self._vpn = vpn_classes(tasks)
        self._apart = {
            (one, other): _never_together(tasks[one], tasks[other], pairs[one][other])
            for one, other in combinations(tasks, 2)
            if other in pairs.get(one, {})
        }

    def nothing(self) -> dict[str, Any]:
        """The verdicts where no sample was computed: all None."""
        return dict.fromkeys((*self.tasks, *((VPN,) if self._vpn else ()), CONFLICT))

    def rows(self, probabilities: Probabilities, below: Below | None = None) -> Iterator[dict[str, Any]]:
        """The verdicts of row after row.

        Where one is below the threshold its label is ``unknown``; confidence and probabilities stay, so
        that what was rejected can be seen. Where the type of traffic is unknown, so is whether it is VPN;
        what is unknown conflicts with nothing.

        Args:
            probabilities: Task -> float32 (N, classes), calibrated.
            below: Task -> bool (N,), verdicts to reject.
        """
        columns = {task: _verdicts(labels, probabilities[task]) for task, labels in self.tasks.items()}
        if self._vpn is not None:
            columns[VPN] = self._vpn_verdicts(probabilities)
        names = tuple(columns)
        conflicts = self._conflicts({task: probabilities[task].argmax(1) for task in self.tasks})
        rejected = self._rejected(below or {}, len(next(iter(probabilities.values()))))
        together = zip(zip(*columns.values(), strict=True), conflicts, rejected, strict=True)
        for found, conflict, unsure in together:
            row = dict(zip(names, found, strict=True))
            for task in unsure:
                row[task]["label"] = UNKNOWN
            apart = [pair for pair in conflict or () if not {*unsure} & {*pair}]
            yield {**row, CONFLICT: apart or None}

    def _rejected(self, below: Below, count: int) -> Iterator[tuple[str, ...]]:
        """What is unknown in each row."""
        if not below:
            return iter([()] * count)
        if self._vpn is not None and self._vpn[0] in below:
            below = {**below, VPN: below[self._vpn[0]]}
        marks = np.stack([*below.values()], axis=1).tolist()
        return (tuple(task for task, low in zip(below, row, strict=True) if low) for row in marks)

    def _vpn_verdicts(self, probabilities: Mapping[str, NDArray[np.float32]]) -> Iterator[dict[str, Any]]:
        assert self._vpn is not None
        task, over = self._vpn
        share = np.clip(probabilities[task].astype(np.float64)[:, list(over)].sum(1), 0, 1)
        return _verdicts(VPN_LABELS, np.stack([share, 1 - share], axis=1))

    def _conflicts(self, best: Mapping[str, NDArray[np.int64]]) -> Iterator[list[list[str]] | None]:
        count = len(next(iter(best.values())))
        found: list[list[list[str]] | None] = [None] * count
        for (one, other), apart in self._apart.items():
            for i in np.flatnonzero(apart[best[one], best[other]]).tolist():
                found[i] = [*(found[i] or []), [one, other]]
        return iter(found)


def _verdicts(labels: Sequence[str], probabilities: NDArray[Any]) -> Iterator[dict[str, Any]]:
    rounded = np.round(probabilities.astype(np.float64), DECIMALS).tolist()
    for best, values in zip(probabilities.argmax(1).tolist(), rounded, strict=True):
        yield {
            "label": labels[best],
            "confidence": values[best],
            "probabilities": dict(zip(labels, values, strict=True)),
        }


def _never_together(
    labels: Sequence[str], others: Sequence[str], together: Mapping[str, Sequence[str]]
) -> NDArray[np.bool_]:
    """bool (labels, others): both stood beside labels of the other task, and never beside each other."""
    known = np.array([[other in together.get(label, ()) for other in others] for label in labels])
    return ~known & known.any(1, keepdims=True) & known.any(0, keepdims=True)
