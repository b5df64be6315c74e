"""What a run trains, and on what: settings, tasks, parts of the dataset as the network is to see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtc.config import RunConfig
from mtc.datasets.flow_features.features import QuantileScaler
from mtc.errors import DatasetError
from mtc.tasks import Tasks, check_task_names
from mtc.training.features import prepare_parts
from mtc.training.initial import Start, load_start
from mtc.training.samples import chosen_tasks, trainable_tasks

if TYPE_CHECKING:
    from mtc.datasets import Dataset, LabelledSamples


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before it begins."""

    config: RunConfig
    dataset: "Dataset"
    tasks: Tasks
    """Those that are trained, with all their classes."""
    untrained: tuple[str, ...]
    """Tasks that were to be trained and have no label in the training part."""
    train_part: "LabelledSamples"
    validation_part: "LabelledSamples"
    scaler: QuantileScaler | None
    """The transform of flow features."""
    start: Start | None
    """The model whose weights the run starts from."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where the run comes from, as ``run.json`` keeps it."""
        dataset = {"path": str(Path(self.dataset.path).absolute()), "hash": self.dataset.hash}
        return {"dataset": dataset} | ({"init": self.start.to_dict()} if self.start else {})


def plan_run(config: RunConfig, dataset: "Dataset", init: str | Path | None = None) -> Plan:
    """Take the parts of a dataset that a run needs.

    Args:
        config: The settings.
        dataset: What to train on.
        init: Folder of the model whose weights the run starts from.

    Raises:
        UsageError: The dataset lacks a task that is named, or holds something else than the network or
            the model reads.
        DatasetError: There is nothing to train or validate on.
        ModelError: The model cannot be read.
    """
    chosen = chosen_tasks(config.data.tasks, dataset.tasks)
    check_task_names(chosen)
    start = load_start(init, dataset) if init is not None else None
    train_part, validation_part = (
        dataset.part(config.data.split, part, mask=config.data.mask) for part in ("train", "validation")
    )
    if len(train_part) < 2 or not len(validation_part):
        raise DatasetError(
            f"{dataset.path}: {len(train_part)} samples to train on and {len(validation_part)} to validate "
            "on are too few"
        )
    tasks = trainable_tasks(train_part, chosen)
    if not tasks:
        raise DatasetError(f"{dataset.path}: no sample of the training part has a label")
    known = start.model.scaler if start else None
    train_part, validation_part, scaler = prepare_parts(config, dataset, train_part, validation_part, known)
    untrained = tuple(task for task in chosen if task not in tasks)
    return Plan(config, dataset, tasks, untrained, train_part, validation_part, scaler, start)
