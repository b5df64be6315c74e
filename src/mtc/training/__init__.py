"""One run: a recipe and a dataset become a run folder with a model, its scores and its history.

Names are imported on first use: calibration and scores need no training library.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.training.fitting import Interrupted as Interrupted
    from mtc.training.fitting import resolve_precision as resolve_precision
    from mtc.training.module import multi_task_loss as multi_task_loss
    from mtc.training.run import train as train
    from mtc.training.scoring.calibration import Calibration as Calibration
    from mtc.training.scoring.calibration import calibrate as calibrate
    from mtc.training.scoring.scores import Part as Part
    from mtc.training.scoring.scores import score_part as score_part

__getattr__, __all__ = lazy_names(__name__)
