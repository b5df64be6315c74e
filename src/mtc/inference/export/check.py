"""Whether an exported model gives what the model itself gives, batch size by batch size."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.flow_features.features import FEATURES, positions
from mtc.errors import ParityError
from mtc.flows import read_samples
from mtc.models import LoadedModel, predict_probabilities
from mtc.packets import mask_samples

BATCH_SIZES = (1, 2, 17, 64)
"""Batch sizes that are tried, one of them odd, over the same samples."""

CHECKED = 256
"""Samples that are compared."""

TOLERANCE = 1e-5
"""Largest difference of a probability between the model and its exported form in fp32."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How close an exported model comes to the model itself.

    Attributes:
        samples: How many samples were compared.
        difference: Batch size -> largest difference of a calibrated probability.
        agreement: Task -> share of samples with the same top class, the least over the batch sizes.
    """

    samples: int
    difference: dict[int, float]
    agreement: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether no probability differs by more than rounding explains."""
        return max(self.difference.values()) <= TOLERANCE

    def require(self) -> None:
        """Raise unless it holds.

        Raises:
            ParityError: With the largest difference and its batch size.
        """
        if not self.holds:
            size = max(self.difference, key=lambda size: self.difference[size])
            raise ParityError(
                f"the exported model differs by {self.difference[size]:.1e} from the original in a "
                f"probability, at batches of {size}; more than {TOLERANCE:.0e}, so nothing is written"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "samples": self.samples,
            "tolerance": TOLERANCE,
            "difference": {str(size): value for size, value in self.difference.items()},
            "agreement": self.agreement,
        }


def example_inputs(model: LoadedModel) -> NDArray[Any]:
    """Inputs to compare on: packets of the bundled capture, or flow features as training saw them.

    Args:
        model: What is to read them.

    Returns:
        ``CHECKED`` of them: uint8 (N, 1500), a few of them random bytes, or float32 (N, 78), a few of them
        odd.
    """
    rng, count = np.random.default_rng(0), CHECKED
    if model.scaler is None:
        packets = read_samples(str(resources.files("mtc") / "assets" / "demo.pcap")).samples
        chosen = packets[rng.choice(len(packets), count, replace=len(packets) < count)]
        chosen[-8:] = rng.integers(0, 256, chosen[-8:].shape, dtype=np.uint8)
        chosen[-1] = 0
        return chosen
    levels = model.scaler.quantiles
    values = np.zeros((count, len(FEATURES)), np.float32)
    rows = rng.integers(0, len(levels), (count, levels.shape[1]))
    values[:, positions(tuple(model.card.features))] = np.take_along_axis(levels, rows, 0)
    values[-8:-4] *= 1.5
    values[-4:] = np.array([np.nan, np.inf, -np.inf, -1.0], np.float32)[:, None]
    return values


def check_parity(path: Path, model: LoadedModel, inputs: NDArray[Any]) -> Parity:
    """Run an exported model and the model itself on the same inputs.

    Args:
        path: The exported model.
        model: What it was made of; it computes in fp32.
        inputs: As ``example_inputs`` gives them.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: what it says of its optimizations is for its developers
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name, tasks = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    expected = _probabilities(model, _logits(model, inputs))
    difference = {}
    agreement = dict.fromkeys(tasks, 1.0)
    for size in BATCH_SIZES:
        parts = [session.run(tasks, {name: inputs[i : i + size]}) for i in range(0, len(inputs), size)]
        logits = {
            task: np.concatenate(arrays) for task, arrays in zip(tasks, zip(*parts, strict=True), strict=True)
        }
        found = _probabilities(model, logits)
        difference[size] = max(float(np.abs(found[task] - expected[task]).max()) for task in tasks)
        for task in tasks:
            equal = found[task].argmax(1) == expected[task].argmax(1)
            agreement[task] = min(agreement[task], float(equal.mean()))
    return Parity(len(inputs), difference, agreement)


def _logits(model: LoadedModel, inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """What the package itself makes of the inputs, by its own preprocessing."""
    if model.scaler is None:
        mask = model.card.config.data.mask
        values: NDArray[Any] = mask_samples(inputs, mask)
    else:
        values = model.scaler.transform(inputs[:, positions(tuple(model.card.features))])
    return model.row_logits(values)


def _probabilities(
    model: LoadedModel, logits: dict[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    return predict_probabilities(logits, model.temperatures("packet"), model.absent)
