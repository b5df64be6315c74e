"""What trained models are worth: scores on a part of a dataset, and how two of them differ."""

from mtc.evaluation.evaluate import Progress, evaluate
from mtc.evaluation.paired import Difference, Pair, paired_difference

__all__ = ["Difference", "Pair", "Progress", "evaluate", "paired_difference"]
