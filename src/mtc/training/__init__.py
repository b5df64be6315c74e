"""One run: a recipe and a dataset become a run folder with a model, its scores and its history.

Names are imported when they are first asked for: calibration and scores need no training library.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.training.loss import multi_task_loss
    from mtc.training.precision import resolve_precision
    from mtc.training.run import train
    from mtc.training.scoring.calibration import Calibration, calibrate
    from mtc.training.scoring.scores import Part, score_part
    from mtc.training.troubles import Interrupted

__all__ = [
    "Calibration",
    "Interrupted",
    "Part",
    "calibrate",
    "multi_task_loss",
    "resolve_precision",
    "score_part",
    "train",
]

_HOMES = {
    "Calibration": "scoring.calibration",
    "Interrupted": "troubles",
    "Part": "scoring.scores",
    "calibrate": "scoring.calibration",
    "multi_task_loss": "loss",
    "resolve_precision": "precision",
    "score_part": "scoring.scores",
    "train": "run",
}

__getattr__ = lazy_names(__name__, _HOMES)
