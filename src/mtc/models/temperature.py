"""What makes a verdict as sure as it is right: logits are divided by a temperature.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, for one
temperature; that it depends on the logits is after Tomani, Cremers, Buettner, "Parameterized Temperature
Scaling", ECCV 2022, in the smallest form: by the entropy alone.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Temperature:
    """The temperature of a task: ``base * exp(rise * entropy)``, which changes no verdict's label.

    Attributes:
        base: Positive, the temperature of a verdict that is quite sure.
        rise: By how much the logarithm of the temperature grows for each nat of entropy of the
            probabilities before calibration; 0 is plain temperature scaling.
    """

    base: float = 1.0
    rise: float = 0.0

    @classmethod
    def from_json(cls, value: Mapping[str, float]) -> Self:
        """Read what ``model.json`` holds.

        Raises:
            ValueError: It is no temperature.
        """
        found = cls(float(value["base"]), float(value["rise"]))
        if not (0 < found.base < np.inf and np.isfinite(found.rise)):
            raise ValueError(f"{value} is no temperature")
        return found

    def log_probabilities(self, logits: Logits, absent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logarithms of calibrated probabilities.

        Args:
            logits: Float (N, C) of packets, or scores of flows.
            absent: int64, classes without training samples: their probability is 0.

        Returns:
            float64 (N, C); -inf for absent classes.
        """
        values = logits.astype(np.float64)
        values[:, absent] = -np.inf
        if self.rise:
            values /= self.base * np.exp(self.rise * entropy(values))[:, None]
        else:
            values /= self.base
        return log_softmax(values)


def log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the softmax of each row, float64 (N, C); -inf stays -inf.

    SciPy's does the same, and would be a fifth of the start-up.
    """
    shifted = values - values.max(1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


def entropy(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy in nats of the softmax of logits, float64 (N, C) -> (N,); -inf is probability 0."""
    logarithms = log_softmax(logits)
    probabilities = np.exp(logarithms)
    result: NDArray[np.float64] = -(probabilities * np.where(probabilities > 0, logarithms, 0.0)).sum(1)
    return result


def predict_probabilities(
    logits: Mapping[str, NDArray[np.float32]],
    temperatures: Mapping[str, Temperature],
    absent: Mapping[str, NDArray[np.int64]],
) -> dict[str, NDArray[np.float32]]:
    """Calibrated probabilities of logits.

    Args:
        logits: Task -> float32 (N, classes).
        temperatures: Task -> temperature; 1 where a task is not named.
        absent: Task -> indices of classes without training samples: their probability is 0.

    Returns:
        Task -> float32 (N, classes), rows sum to 1.
    """
    none, certain = np.empty(0, np.int64), Temperature()
    return {
        task: np.exp(
            temperatures.get(task, certain).log_probabilities(values, absent.get(task, none))
        ).astype(np.float32)
        for task, values in logits.items()
    }


PREFIX = "task "


def quoted_head(task: str) -> str:
    """The name of a head whose task PyTorch would take for a method of its module, or for a path."""
    return PREFIX + task.replace("%", "%25").replace(".", "%2E")


def stored_head(task: str, weights: Container[str]) -> str:
    """The name that a task's head has among the names of weights: its own, or the quoted one."""
    plain = not task.startswith(PREFIX) and f"heads.{task}.weight" in weights
    return task if plain else quoted_head(task)
