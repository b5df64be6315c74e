"""The least that a model must beat: the nearest training sample, and the most frequent class."""

import numpy as np
from numpy.typing import NDArray

from mtc.errors import ModelError
from mtc.models.shallow.base import Known, ShallowNetwork
from mtc.models.shallow.inputs import FIELDS, Inputs

NEAREST_ROWS = 20_000
"""Most training samples that are compared with; the model holds them."""

_QUERIES = 512


class NearestNeighbour(ShallowNetwork):
    """The class of the nearest training sample, in Euclidean distance.

    The logit of a class is the distance to its nearest sample, with the sign turned.
    """

    def fit_task(self, task: str, train: Known, validation: Known, seed: int) -> int:
        """Keep the training samples, in the order of their classes."""
        rows = np.arange(len(train))
        if len(train) > NEAREST_ROWS:
            rows = np.random.default_rng(seed).choice(len(train), NEAREST_ROWS, replace=False)
        rows = rows[np.argsort(train.labels[rows], kind="stable")]
        self.keep(task, "samples", self._scaled(train.values[rows]))
        self.keep(task, "labels", train.labels[rows])
        return 1

    def task_logits(self, task: str, values: Inputs) -> NDArray[np.float64]:
        """Minus the distance to the nearest sample of each class."""
        samples = self.kept(task, "samples").astype(np.float32)
        if samples.shape[1] != values.shape[1]:
            raise ModelError(f"{task}: the model compares {samples.shape[1]} values, not {values.shape[1]}")
        present, first = np.unique(self.kept(task, "labels"), return_index=True)
        squares = (samples**2).sum(axis=1)
        nearest = np.full((len(values), self.classes[task]), np.inf)
        for start in range(0, len(values), _QUERIES):
            queries = self._scaled(values[start : start + _QUERIES]).astype(np.float32)
            products = squares - 2 * queries @ samples.T + (queries**2).sum(axis=1)[:, None]
            found = np.minimum.reduceat(products, first, axis=1)
            nearest[start : start + _QUERIES, present] = np.sqrt(np.maximum(found, 0.0))
        largest = nearest.max(axis=1, initial=0.0, where=np.isfinite(nearest))
        return -np.where(np.isfinite(nearest), nearest, largest[:, None] + 1.0)

    def check(self) -> None:
        """Refuse samples and labels that do not fit.

        Raises:
            ModelError: They are damaged.
        """
        for task, classes in self.classes.items():
            samples, labels = self.kept(task, "samples"), self.kept(task, "labels")
            fits = samples.ndim == 2 and len(samples) == len(labels) > 0
            if not (fits and labels.min() >= 0 and labels.max() < classes and (np.diff(labels) >= 0).all()):
                raise ModelError(f"{task}: the samples are damaged")

    def _scaled(self, values: Inputs) -> Inputs:
        """Bytes and features as they are; fields, whose sizes differ, by the order of their magnitude."""
        if values.dtype == np.float64 and values.shape[1] == len(FIELDS):
            return (np.sign(values) * np.log1p(np.abs(values))).astype(np.float32)
        return values


class Majority(ShallowNetwork):
    """Always the most frequent class of the training part."""

    def fit_task(self, task: str, train: Known, validation: Known, seed: int) -> int:
        """Count."""
        self.keep(task, "counts", np.bincount(train.labels, minlength=self.classes[task]))
        return 1

    def task_logits(self, task: str, values: Inputs) -> NDArray[np.float64]:
        """Logarithms of the frequencies, of every sample the same; half a sample for classes without."""
        counts = self.kept(task, "counts")
        return np.tile(np.log(np.maximum(counts, 0.5) / counts.sum()), (len(values), 1))

    def check(self) -> None:
        """Refuse other numbers than counts.

        Raises:
            ModelError: They are damaged.
        """
        for task, classes in self.classes.items():
            if self.kept(task, "counts").shape != (classes,):
                raise ModelError(f"{task}: the counts are damaged")
