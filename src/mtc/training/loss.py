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
    smoothing: float = 0.0,
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
        )
        count = (labels[task] != UNLABELLED).sum().clamp(min=1) if labelled is None else labelled[task] or 1.0
        terms.append(weights.get(task, 1.0) / total * losses / (members * count))
    return torch.stack(terms).sum()
