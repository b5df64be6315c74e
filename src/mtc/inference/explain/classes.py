"""What speaks for each class: reasons of single packets, averaged over the packets of a class."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.inference.explain.attribution import explain
from mtc.models import LoadedModel
from mtc.packets import mask_samples
from mtc.training.scoring.calibration import log_probabilities

if TYPE_CHECKING:
    from mtc.datasets import LabelledSamples

PER_CLASS = 20
"""Packets of a class that are explained."""


@dataclass(frozen=True, slots=True)
class ClassReasons:
    """Reasons of one class.

    Attributes:
        label: The class.
        packets: Packets of it that were explained.
        recognised: Share of them that the model gives the class.
        fields: Header field or payload range, or ``number NAME`` -> mean contribution to the logit of the
            class, over all the packets; a packet without the field counts as 0.
    """

    label: str
    packets: int
    recognised: float
    fields: dict[str, float]

    def strongest(self, count: int) -> list[tuple[str, float]]:
        """The fields that do most, whichever way, the strongest first."""
        return sorted(self.fields.items(), key=lambda item: -abs(item[1]))[:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return asdict(self)


def explain_classes(
    model: LoadedModel,
    samples: "LabelledSamples",
    task: str | None = None,
    *,
    per_class: int = PER_CLASS,
    seed: int = 0,
) -> list[ClassReasons]:
    """Explain the true class of packets drawn from each class.

    Packets are drawn one from each flow as long as there are flows that none was drawn from.

    Args:
        model: A network that reads packets.
        samples: Labelled by the classes of the task.
        task: The first one of the model by default.
        per_class: Packets to draw from each class.
        seed: Of the draw.

    Returns:
        In the order of the classes; classes without a packet are skipped.

    Raises:
        UsageError: As ``mtc.inference.explain.attribution.explain``.
    """
    task = next(iter(model.card.tasks)) if task is None else task
    labels, rng = samples.labels.get(task), np.random.default_rng(seed)
    if labels is None:
        explain(model, samples.dense(np.empty(0, np.int64)), task)  # says what is wrong with the task
        return []
    result = []
    for number, label in enumerate(model.card.tasks[task]):
        rows = _draw(np.flatnonzero(labels == number), samples.flow, per_class, rng)
        if len(rows):
            result.append(_reasons(model, samples.dense(rows), task, label))
    return result


def _draw(
    rows: NDArray[np.int64], flow: NDArray[np.int32], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    rows = rng.permutation(rows)
    _, first = np.unique(flow[rows], return_index=True)
    others = np.setdiff1d(np.arange(len(rows)), first)
    chosen: NDArray[np.int64] = np.sort(rows[np.concatenate([rng.permutation(first), others])[:count]])
    return chosen


def _reasons(model: LoadedModel, packets: NDArray[np.uint8], task: str, label: str) -> ClassReasons:
    found = explain(model, packets, task, label)
    logits = model.row_logits(mask_samples(packets, model.card.config.data.mask))
    certain = log_probabilities(logits[task], model.absent[task])
    every: list[dict[str, float]] = [one.contributions() for one in found]
    names: Sequence[str] = list(dict.fromkeys(name for each in every for name in each))
    return ClassReasons(
        label=label,
        packets=len(found),
        recognised=float((certain.argmax(1) == list(model.card.tasks[task]).index(label)).mean()),
        fields={name: float(np.mean([each.get(name, 0.0) for each in every])) for name in names},
    )
