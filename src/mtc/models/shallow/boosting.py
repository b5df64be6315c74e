"""Gradient-boosted trees (LightGBM), stored as LightGBM's own text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.errors import ModelError
from mtc.extras import need
from mtc.metrics import score
from mtc.models.shallow.base import Known, ShallowNetwork
from mtc.models.shallow.inputs import Inputs

PARAMETERS: Mapping[str, Any] = {
    "objective": "multiclass",
    "metric": "None",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 10,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}

PATIENCE = 30
"""Rounds without a better macro F1 on the validation part before boosting ends."""

_UNSEEN = 10.0


class GradientBoosting(ShallowNetwork):
    """One booster a task, over the classes that the training part has."""

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        self._boosters: dict[str, Any] = {}

    def fit_task(self, task: str, train: Known, validation: Known, seed: int) -> int:
        """Boost until the validation part's macro F1 no longer rises; every class counts alike."""
        lightgbm = need("lightgbm")
        present = np.unique(train.labels)
        self.keep(task, "present", present)
        if len(present) < 2:
            return 0
        sets = {}
        for name, part in (("train", train), ("validation", validation)):
            rows = np.isin(part.labels, present)
            known = Known(part.values[rows], np.searchsorted(present, part.labels[rows]))
            sets[name] = lightgbm.Dataset(known.values, known.labels, weight=known.weights())
        sets["validation"].reference = sets["train"]
        self._boosters[task] = lightgbm.train(
            {**PARAMETERS, "num_class": len(present), "seed": seed, "num_threads": torch.get_num_threads()},
            sets["train"],
            self.config.boosting_rounds,
            valid_sets=[sets["validation"]],
            feval=macro_f1,
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        return int(self._boosters[task].best_iteration or self._boosters[task].current_iteration())

    def task_logits(self, task: str, values: Inputs) -> NDArray[np.float64]:
        """Raw scores; far below all others for classes that were not seen."""
        present = self.kept(task, "present")
        raw = np.zeros((len(values), len(present)))
        if task in self._boosters:
            raw = self._boosters[task].predict(values, raw_score=True, num_threads=torch.get_num_threads())
        logits = np.tile(raw.min(axis=1, keepdims=True) - _UNSEEN, self.classes[task])
        logits[:, present] = raw
        return logits

    def texts(self) -> dict[str, str]:
        """A text a task that was boosted."""
        return {
            _file(i): self._boosters[task].model_to_string()
            for i, task in enumerate(self.classes)
            if task in self._boosters
        }

    def take_texts(self, texts: Mapping[str, str]) -> None:
        """Read the boosters; each must have a class for every class that the task was trained on.

        Raises:
            ModelError: A text is missing or is none of LightGBM's.
            UsageError: LightGBM is not installed.
        """
        lightgbm = need("lightgbm")
        for i, task in enumerate(self.classes):
            present = self.kept(task, "present")
            if len(present) < 2:
                continue
            if _file(i) not in texts:
                raise ModelError(f"{_file(i)} is missing")
            try:
                booster = lightgbm.Booster(model_str=texts[_file(i)])
                trees = booster.num_model_per_iteration()
            except (lightgbm.basic.LightGBMError, ValueError) as error:
                raise ModelError(f"{_file(i)} is damaged ({' '.join(str(error).split())[:200]})") from error
            if trees != len(present):
                raise ModelError(f"{_file(i)} does not fit: {trees} classes in place of {len(present)}")
            self._boosters[task] = booster

    def check(self) -> None:
        """Refuse classes that no task has.

        Raises:
            ModelError: They are damaged.
        """
        for task, classes in self.classes.items():
            present = self.kept(task, "present")
            if present.ndim != 1 or (len(present) and not 0 <= present.min() <= present.max() < classes):
                raise ModelError(f"{task}: classes that the task does not have")


def _file(number: int) -> str:
    return f"lightgbm-{number}.txt"


def macro_f1(scores: NDArray[np.float64], known: Any) -> tuple[str, float, bool]:
    """What the trees are compared by decides when they stop: LightGBM's name, value, higher is better."""
    labels = known.get_label().astype(np.int64)
    names = [str(i) for i in range(scores.shape[1])]
    return "macro_f1", score(labels, scores.argmax(axis=1), names)["macro_f1"] or 0.0, True
