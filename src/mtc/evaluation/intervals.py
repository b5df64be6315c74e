"""Mean and confidence interval of a score over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
"""Confidence of an interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score over seeds.

    Attributes:
        mean: Of the seeds' scores.
        half_width: Half of the 95 % interval of the mean; ``None`` with fewer than two seeds.
        count: Seeds.
    """

    mean: float
    half_width: float | None
    count: int


def estimate(scores: Sequence[float | None]) -> Estimate | None:
    """Estimate a score from seeds, by Student's t distribution.

    Args:
        scores: One a seed; ``None`` where a run has no such score, which is left out.

    Returns:
        The estimate; ``None`` where no run has a score.
    """
    known = np.array([score for score in scores if score is not None], np.float64)
    if not len(known):
        return None
    if len(known) == 1:
        return Estimate(float(known[0]), None, 1)
    from scipy.stats import t  # slow to import

    spread = known.std(ddof=1) / np.sqrt(len(known))
    half_width = float(t.ppf((1 + LEVEL) / 2, len(known) - 1) * spread)
    return Estimate(float(known.mean()), half_width, len(known))
