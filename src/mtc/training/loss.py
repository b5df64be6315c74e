"""The loss of several tasks at once."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mtc.tasks import UNLABELLED


def multi_task_loss(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    weights: Mapping[str, float],
    labelled: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
    balance: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Weighted mean over the tasks of the cross-entropy over the labelled packets.

    Source: Sec. 3.3.5. Reading: the weights are divided by their sum; a packet without a label for a
    task adds nothing to that task, and a task without any label in the batch adds nothing at all.

    Args:
        logits: Task -> float (B, classes), or (B, members, classes) where several networks learn side by
            side: then each has its own loss, and the mean of them counts.
        labels: Task -> int64 (B,), -1 where there is no label.
        weights: Task -> weight; a task that is not named weighs 1.
        labelled: Task -> what the sum of its cross-entropies is divided by; if left out, the labelled
            packets here. Where several processes share a batch, the mean of their losses is then its loss.
        smoothing: Share of each label that is spread over all classes.
        balance: Task -> float32 (classes,), what a sample of each class weighs, see ``class_weights``.

    Returns:
        The loss, a float32 scalar.
    """
    total = sum(weights.get(task, 1.0) for task in logits)
    terms = []
    for task, task_logits in logits.items():
        members = task_logits.shape[1] if task_logits.dim() == 3 else 1
        losses = functional.cross_entropy(
            task_logits.flatten(0, -2).float(),
            labels[task].repeat_interleave(members),
            ignore_index=UNLABELLED,
            reduction="sum",
            label_smoothing=smoothing,
            weight=None if balance is None else balance[task],
        )
        count = (labels[task] != UNLABELLED).sum().clamp(min=1) if labelled is None else labelled[task] or 1.0
        terms.append(weights.get(task, 1.0) / total * losses / (members * count))
    return torch.stack(terms).sum()


def class_weights(labels: NDArray[np.int64], classes: int, balance: float) -> Tensor:
    """What a sample of each class weighs.

    Args:
        labels: int64 (N,), of the training part; -1 where there is none.
        classes: How many classes there are.
        balance: See ``LossConfig.balance``.

    Returns:
        float32 (classes,); the labelled samples weigh 1 on average, and a class without samples 0.
    """
    counts = np.bincount(labels[labels != UNLABELLED], minlength=classes).astype(np.float64)
    raw = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)
    total = float((raw * counts).sum())
    return torch.from_numpy(raw * (counts.sum() / total if total else 0.0)).float()
