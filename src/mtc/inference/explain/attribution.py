"""Why a verdict: integrated gradients on what the network reads, summed by header field and payload range.

Source: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, computed by Captum.
The attributions of a packet sum to the logit of the class minus the logit of the baseline, a packet of
nothing; how closely they do is measured and reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.extras import need
from mtc.inference.explain.inputs import Readable, readable
from mtc.models import LoadedModel, predict_probabilities
from mtc.packets import SAMPLE_LENGTH, Mask, field_names, mask_samples
from mtc.packets.fields import PAYLOAD
from mtc.packets.transport import TCP, UDP

STEPS = (32, 64, 128, 256)
"""Steps of the integral, more of them until its error is small enough."""

TOLERATED = 0.01
"""Error of the integral that is good enough, as a share of the difference of logits."""

STEP_BATCH = 32
"""Packets, or steps between baseline and packet, that are computed at once."""

PAYLOAD_RANGES = (0, 16, 32, 64, 128, 256, 512)
"""First bytes of the ranges of payload that are summed up."""


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What made the logit of one class for one packet.

    Attributes:
        task: The task.
        label: The class that is explained.
        confidence: Its calibrated probability.
        logit: Its logit.
        baseline: Its logit for a packet of nothing.
        error: Sum of the attributions minus ``logit - baseline``.
        sample: uint8 (1500,), the packet with the model's mask applied.
        parts: Part of the network (``transformer`` and ``cnn``, or ``bytes``) -> float32 (1500,), what each
            byte did through it.
        numbers: Number that the network reads beside the bytes -> what it did; none for most networks.
        attention: float32 (layers, heads, tokens, tokens), how much each token (row) took from each other
            (column); no layers where there is no attention.
    """

    task: str
    label: str
    confidence: float
    logit: float
    baseline: float
    error: float
    sample: NDArray[np.uint8]
    parts: dict[str, NDArray[np.float32]]
    numbers: dict[str, float]
    attention: NDArray[np.float32]

    @property
    def length(self) -> int:
        """Bytes up to the last that is not zero."""
        return int(np.flatnonzero(self.sample)[-1]) + 1 if self.sample.any() else 0

    @property
    def by_byte(self) -> NDArray[np.float32]:
        """float32 (1500,), what each byte did through all parts together."""
        total: NDArray[np.float32] = np.stack(list(self.parts.values())).sum(0, dtype=np.float32)
        return total

    def by_field(self, part: str | None = None) -> dict[str, float]:
        """What each header field and payload range did, through one part or all; in the packet's order."""
        values = self.by_byte if part is None else self.parts[part]
        return {name: float(values[places].sum()) for name, places in field_groups(self.sample).items()}

    def contributions(self) -> dict[str, float]:
        """All that the logit was divided among: fields and payload ranges, and ``number NAME``."""
        return {**self.by_field(), **{f"number {name}": value for name, value in self.numbers.items()}}

    def attention_received(self) -> NDArray[np.float32]:
        """float32 (tokens,), attention that each token received, mean over layers and heads.

        It is summed over the tokens that attend, so that 1 is what each has where all are attended to
        alike. Empty where there is no attention.
        """
        if not len(self.attention):
            return np.empty(0, np.float32)
        received: NDArray[np.float32] = self.attention.mean((0, 1)).sum(0)
        return received

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; bytes behind the end of the packet are skipped."""
        return {
            "task": self.task,
            "label": self.label,
            "confidence": self.confidence,
            "logit": self.logit,
            "baseline": self.baseline,
            "error": self.error,
            "fields": self.by_field(),
            "parts": {part: self.by_field(part) for part in self.parts},
            "numbers": self.numbers,
            "bytes": [round(float(value), 6) for value in self.by_byte[: self.length]],
            "attention": [round(float(value), 6) for value in self.attention_received()],
        }


def explain(
    model: LoadedModel, samples: NDArray[np.uint8], task: str | None = None, label: str | None = None
) -> list[Explanation]:
    """Say what made the verdicts on packets.

    Args:
        model: A network that reads packets.
        samples: uint8 (N, 1500), as ``mtc.read_samples`` gives them; the mask is applied to a copy.
        task: Which task's verdict; the first one by default.
        label: Which class; by default, the one that each packet is given.

    Raises:
        UsageError: There is no such task or class, the model reads no packets, or has no gradients, or a
            library is missing.
    """
    gradients = need("captum.attr", extra="explain").IntegratedGradients
    task, target = _target(model, task, label)
    if samples.dtype != np.uint8 or samples.ndim != 2 or samples.shape[1] != SAMPLE_LENGTH:
        raise UsageError(f"samples must be uint8 (N, {SAMPLE_LENGTH}), not {samples.dtype} {samples.shape}")
    reader = readable(model)
    mask: Mask = model.card.config.data.mask
    masked = mask_samples(samples, mask)
    return [_explain_one(reader, gradients, model, sample, task, target) for sample in masked]


def _explain_one(
    reader: Readable,
    gradients: Any,
    model: LoadedModel,
    sample: NDArray[np.uint8],
    task: str,
    target: int | None,
) -> Explanation:
    inputs, baselines = reader.inputs(sample), reader.baselines()
    with torch.no_grad():
        logits = reader.logits(task, *inputs)[0].numpy()
        nothing = reader.logits(task, *baselines)[0].numpy()
        attention = reader.attention(*inputs)
    found = predict_probabilities({task: logits[None]}, model.temperatures("packet"), model.absent)[task][0]
    chosen = int(found.argmax()) if target is None else target
    difference = float(logits[chosen] - nothing[chosen])

    def logit(*given: torch.Tensor) -> torch.Tensor:
        return reader.logits(task, *given)[:, chosen]

    method = gradients(logit, multiply_by_inputs=True)
    for steps in STEPS:
        values = method.attribute(
            inputs, baselines, n_steps=steps, method="gausslegendre", internal_batch_size=STEP_BATCH
        )
        error = float(sum(value.double().sum() for value in values)) - difference
        if abs(error) <= TOLERATED * abs(difference):
            break
    parts, numbers = reader.attributions(values)
    return Explanation(
        task=task,
        label=str(model.card.tasks[task][chosen]),
        confidence=float(found[chosen]),
        logit=float(logits[chosen]),
        baseline=float(nothing[chosen]),
        error=error,
        sample=sample,
        parts=parts,
        numbers=numbers,
        attention=attention,
    )


def field_groups(sample: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
    """Places of each header field and payload range of a packet, in its order, up to its last byte.

    Args:
        sample: uint8 (1500,). What is neither TCP nor UDP over IP is all payload.
    """
    version = int(sample[0]) >> 4
    protocol = int(sample[6 if version == 6 else 9])
    known = version in (4, 6) and protocol in (TCP, UDP)
    names = field_names(version, protocol) if known else (PAYLOAD,) * SAMPLE_LENGTH
    start = names.index(PAYLOAD)
    length = int(np.flatnonzero(sample)[-1]) + 1 if sample.any() else 0
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names[: max(length, start)]):
        groups.setdefault(name if name != PAYLOAD else _payload_range(place - start), []).append(place)
    return {name: np.array(places, np.int64) for name, places in groups.items()}


def _payload_range(place: int) -> str:
    edges = (*PAYLOAD_RANGES, SAMPLE_LENGTH)
    number = int(np.searchsorted(edges, place, side="right")) - 1
    return f"{PAYLOAD} {edges[number]}-{edges[number + 1] - 1}"


def _target(model: LoadedModel, task: str | None, label: str | None) -> tuple[str, int | None]:
    tasks = model.card.tasks
    task = next(iter(tasks)) if task is None else task
    if task not in tasks:
        raise UsageError(f"the model has no task {task!r}, only {', '.join(tasks)}")
    classes: Sequence[str] = tasks[task]
    if label is not None and label not in classes:
        raise UsageError(f"task {task} has no class {label!r}, only {', '.join(classes)}")
    return task, None if label is None else list(classes).index(label)
