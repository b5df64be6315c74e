"""What a trained model is worth: its scores on a part of a dataset, and those of a shallow baseline."""

from mtc.evaluation.evaluate import Progress, evaluate

__all__ = ["Progress", "evaluate"]
