"""What trained models are worth: scores on a part of a dataset, and how two of them differ."""

from mtc.evaluation.evaluate import evaluate
from mtc.evaluation.paired import Difference, Pair, paired_difference
from mtc.evaluation.paired_runs import compare_runs, pair_runs
from mtc.evaluation.predictions import Progress

__all__ = [
    "Difference",
    "Pair",
    "Progress",
    "compare_runs",
    "evaluate",
    "pair_runs",
    "paired_difference",
]
