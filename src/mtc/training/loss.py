"""The loss of several tasks at once."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from mtc.tasks import UNLABELLED


def multi_task_loss(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    weights: Mapping[str, float],
    labelled: Mapping[str, float] | None = None,
) -> Tensor:
    """Weighted mean over the tasks of the cross-entropy over the labelled packets.

    Source: Sec. 3.3.5. Reading: the weights are divided by their sum; a packet without a label for a
    task adds nothing to that task, and a task without any label in the batch adds nothing at all.

    Args:
        logits: Task -> float (B, classes).
        labels: Task -> int64 (B,), -1 where there is no label.
        weights: Task -> weight; a task that is not named weighs 1.
        labelled: Task -> what the sum of its cross-entropies is divided by; if left out, the labelled
            packets here. Where several processes share a batch, the mean of their losses is then its loss.

    Returns:
        The loss, a float32 scalar.
    """
    total = sum(weights.get(task, 1.0) for task in logits)
    terms = []
    for task, task_logits in logits.items():
        losses = functional.cross_entropy(
            task_logits.float(), labels[task], ignore_index=UNLABELLED, reduction="sum"
        )
        count = (labels[task] != UNLABELLED).sum().clamp(min=1) if labelled is None else labelled[task] or 1.0
        terms.append(weights.get(task, 1.0) / total * losses / count)
    return torch.stack(terms).sum()
