"""Open-set evaluation: how well a model's confidence separates classes that it was trained without."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import Dataset, LabelledSamples
from mtc.datasets.flow_features.samples import scale_samples
from mtc.errors import UsageError
from mtc.models import LoadedModel
from mtc.packets import Mask
from mtc.tasks import UNLABELLED
from mtc.training.scoring.calibration import Calibration
from mtc.training.scoring.rejection import Score, Sureness, sureness
from mtc.training.scoring.scores import flows_by_capture

GROUPS = 4

KEPT_KNOWN = 0.95
"""Share of the known that is kept where false positives are counted."""

COVERAGES = tuple(round(0.1 * i, 1) for i in range(1, 11))
"""Shares of the known that are answered, for accuracy against coverage."""

SCORES: tuple[Score, ...] = ("probability", "energy")


def held_out_groups(classes: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The groups of classes that are held out in turn: every fourth class, from each of the first four."""
    return tuple(group for group in (tuple(classes[i::GROUPS]) for i in range(GROUPS)) if group)


class HeldOut(Dataset):
    """A dataset without the rows of some classes of a task; rows without a label of the task stay.

    Classes keep their places: to what is trained on it, the held-out ones are classes without samples.
    """

    def __init__(self, dataset: Dataset, task: str, held_out: Sequence[str]) -> None:
        """Args: the dataset, the task, and labels of its classes.

        Raises:
            UsageError: There is no such task or class, or no two classes would be left.
        """
        super().__init__(dataset.path, dataset.info)
        if task not in dataset.tasks or not set(held_out) <= set(dataset.tasks[task]):
            raise UsageError(f"{dataset.path}: no task {task!r} with the classes {', '.join(held_out)}")
        if len(dataset.tasks[task]) - len(set(held_out)) < 2:
            raise UsageError(f"{task}: without {', '.join(held_out)} there is nothing left to distinguish")
        self.task, self.held_out = task, tuple(held_out)
        self._places = np.array([dataset.tasks[task].index(label) for label in held_out])

    @property
    def hash(self) -> str:
        """Of the dataset, and of what it is without."""
        identity = "\0".join((super().hash, self.task, *self.held_out))
        return hashlib.sha256(identity.encode()).hexdigest()

    def part(self, split: str, part: str, *, mask: Mask = "paper") -> LabelledSamples:
        """As of the dataset, without the held-out rows."""
        return self._chosen(split, part, mask, held_out=False)

    def unknown(self, split: str, *, mask: Mask = "paper") -> LabelledSamples:
        """The held-out rows, of all parts of a split: none of them is trained on."""
        return self._chosen(split, "all", mask, held_out=True)

    def _chosen(self, split: str, part: str, mask: Mask, *, held_out: bool) -> LabelledSamples:
        samples = super().part(split, part, mask=mask)
        chosen = np.isin(samples.labels[self.task], self._places) == held_out
        return samples.take(np.flatnonzero(chosen))


def score_open_set(model: LoadedModel, dataset: HeldOut) -> dict[str, Any]:
    """Ask a model that was trained on ``dataset`` for what it knows, and for what was held out.

    Args:
        model: Trained on the known classes of ``dataset.task`` alone.
        dataset: What it was trained on; its test part is the known, its held-out rows the unknown.

    Returns:
        ``packet`` and ``flow`` -> scores, see docs/evaluation.md.

    Raises:
        UsageError: The model does not have the task, or there is nothing to ask for.
    """
    config = model.card.config.data
    if dataset.task not in model.card.tasks:
        raise UsageError(f"the model does not have the task {dataset.task}")
    known = scale_samples(dataset.part(config.split, "test", mask=config.mask), model.scaler)
    unknown = scale_samples(dataset.unknown(config.split, mask=config.mask), model.scaler)
    labels = known.labels[dataset.task]
    if not (labels != UNLABELLED).any() or not len(unknown):
        raise UsageError(f"{dataset.path}: no test row of a known class, or none of a held-out one")
    sure, unsure = (_sureness(model, samples, dataset.task) for samples in (known, unknown))
    reject = model.card.reject.get(dataset.task, {})
    return {
        per: _scored(sure[per], labels[sure[per].chosen], unsure[per], reject.get(per))
        for per in ("packet", "flow")
    }


def _sureness(model: LoadedModel, samples: LabelledSamples, task: str) -> dict[str, Sureness]:
    logits = model.logits(samples.data, samples.offsets)[task]
    temperature = Calibration(model.temperatures("packet")[task], model.temperatures("flow")[task])
    return sureness(logits, flows_by_capture(samples), model.absent[task], temperature)


def _scored(
    known: Sureness, labels: NDArray[np.int64], unknown: Sureness, reject: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Scores of one kind of verdict; ``labels`` int64 (M,), of the known."""
    labelled = labels != UNLABELLED
    right = (known.predicted == labels)[labelled]
    found: dict[str, Any] = {"known": int(labelled.sum()), "unknown": len(unknown.chosen), "scores": {}}
    for name in SCORES:
        found["scores"][name] = _separation(known.score(name)[labelled], right, unknown.score(name))
    best = max(SCORES, key=lambda name: float(found["scores"][name]["auroc"]))
    found["best"] = best
    found["threshold"] = None
    if reject is not None:
        chosen: Score = reject["score"]
        kept = known.score(chosen)[labelled] >= reject["threshold"]
        found["threshold"] = {
            "score": chosen,
            "kept_known": float(kept.mean()),
            "rejected_unknown": float((unknown.score(chosen) < reject["threshold"]).mean()),
            "accuracy": float(right.mean()),
            "accuracy_kept": float(right[kept].mean()) if kept.any() else None,
        }
    return found


def _separation(
    known: NDArray[np.float64], right: NDArray[np.bool_], unknown: NDArray[np.float64]
) -> dict[str, Any]:
    """How well one score separates the known from the unknown.

    Args:
        known: float64 (M,), of the known; larger is surer.
        right: bool (M,), whether the label was named.
        unknown: float64 (U,), of the unknown.
    """
    from sklearn.metrics import roc_auc_score  # slow to import

    truth = np.repeat([1, 0], [len(known), len(unknown)])
    curve = []
    for coverage in COVERAGES:
        threshold = _threshold(known, coverage)
        kept = known >= threshold
        curve.append(
            {
                "coverage": float(kept.mean()),
                "accuracy": float(right[kept].mean()),
                "unknown_kept": float((unknown >= threshold).mean()),
            }
        )
    return {
        "auroc": float(roc_auc_score(truth, np.concatenate([known, unknown]))),
        "fpr_at_95_tpr": float((unknown >= _threshold(known, KEPT_KNOWN)).mean()),
        "coverage": curve,
    }


def _threshold(known: NDArray[np.float64], share: float) -> float:
    """The highest threshold that keeps a share of the known."""
    kept = max(1, int(np.ceil(share * len(known) - 1e-9)))
    return float(np.sort(known)[len(known) - kept])
