"""Whether explanations say what matters: deleting what they name must cost more than deleting at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc.inference.explain.attribution import Explanation, explain, field_groups
from mtc.models import LoadedModel, predict_probabilities

DELETED = (1, 2, 3, 5)
"""How many header fields and payload ranges are deleted."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Mean confidence in the verdicts on packets, before and after fields are deleted from them.

    Attributes:
        packets: How many packets.
        whole: Mean confidence in their verdicts.
        named: Number of fields deleted -> mean confidence without those that the explanation puts first.
        random: The same without as many others, drawn at random.
    """

    packets: int
    whole: float
    named: dict[int, float]
    random: dict[int, float]


def faithfulness(
    model: LoadedModel,
    samples: NDArray[np.uint8],
    task: str | None = None,
    *,
    counts: Sequence[int] = DELETED,
    draws: int = 10,
    seed: int = 0,
) -> Faithfulness:
    """Delete fields from packets, by rank in their explanation and at random.

    A field or payload range is deleted by setting its bytes to zero; those that are zero anyway are not
    counted as fields. Numbers that the network makes of a field count for the field.

    Args:
        model: A network that reads packets.
        samples: uint8 (N, 1500), at least one.
        task: Which task's verdicts; the first one by default.
        counts: Numbers of fields to delete.
        draws: Random choices for each packet and count.
        seed: Of the random choices.

    Raises:
        UsageError: As ``explain``.
    """
    rng = np.random.default_rng(seed)
    named: dict[int, list[float]] = {count: [] for count in counts}
    random: dict[int, list[float]] = {count: [] for count in counts}
    explanations = explain(model, samples, task)
    for found in explanations:
        groups = {n: p for n, p in field_groups(found.sample).items() if found.sample[p].any()}
        fields = found.by_field()
        ranked = sorted(groups, key=lambda name: -(fields[name] + found.numbers.get(name, 0.0)))
        changed = [_without(found.sample, groups, ranked[:count]) for count in counts]
        drawn = [
            _without(found.sample, groups, rng.permutation(ranked)[:count].tolist())
            for count in counts
            for _ in range(draws)
        ]
        confidences = _confidences(model, found, np.stack(changed + drawn))
        for i, count in enumerate(counts):
            named[count].append(float(confidences[i]))
            first = len(counts) + i * draws
            random[count].append(float(confidences[first : first + draws].mean()))
    return Faithfulness(
        packets=len(explanations),
        whole=float(np.mean([found.confidence for found in explanations])),
        named={count: float(np.mean(values)) for count, values in named.items()},
        random={count: float(np.mean(values)) for count, values in random.items()},
    )


def _without(
    sample: NDArray[np.uint8], groups: dict[str, NDArray[np.int64]], names: Sequence[str]
) -> NDArray[np.uint8]:
    changed = sample.copy()
    for name in names:
        changed[groups[name]] = 0
    return changed


def _confidences(model: LoadedModel, found: Explanation, samples: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probability of the class that was explained, for masked samples, float32 (N,)."""
    probabilities = predict_probabilities(
        model.row_logits(samples), model.temperatures("packet"), model.absent
    )
    column = list(model.card.tasks[found.task]).index(found.label)
    return probabilities[found.task][:, column]
