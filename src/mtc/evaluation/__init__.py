"""Evaluation of trained models: scores on a part of a dataset, and the difference of two of them."""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.evaluation.paired import Difference as Difference
    from mtc.evaluation.paired import Pair as Pair
    from mtc.evaluation.paired import paired_difference as paired_difference
    from mtc.evaluation.paired_runs import compare_runs as compare_runs
    from mtc.evaluation.paired_runs import pair_runs as pair_runs
    from mtc.evaluation.predictions import Progress as Progress
    from mtc.evaluation.predictions import evaluate as evaluate

__getattr__, __all__ = lazy_names(__name__)
