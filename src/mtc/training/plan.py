"""The plan of a run: settings, tasks, and the parts of the dataset as the network sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtc.config import RunConfig
from mtc.datasets.flow_features.features import QuantileScaler
from mtc.datasets.flow_features.samples import are_features, balance_samples, scale_samples
from mtc.errors import DatasetError, UsageError
from mtc.tasks import Tasks, check_task_names
from mtc.training.batches import chosen_tasks, trainable_tasks
from mtc.training.initial import Start, load_start
from mtc.training.scoring.cuts import add_copies

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
    if (dataset.info.kind == "flows") != config.model.reads_flows:
        reads = "sequences of flows" if config.model.reads_flows else "no sequences of flows"
        raise UsageError(f"{dataset.path}: holds {dataset.info.kind}, and the model reads {reads}")
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
    if dataset.info.kind == "flows":
        train_part = add_copies(train_part, config.data.copies, config.seed)
    train_part, validation_part, scaler = prepare_parts(config, dataset, train_part, validation_part, known)
    untrained = tuple(task for task in chosen if task not in tasks)
    return Plan(config, dataset, tasks, untrained, train_part, validation_part, scaler, start)


def prepare_parts(
    config: RunConfig,
    dataset: "Dataset",
    train: "LabelledSamples",
    validation: "LabelledSamples",
    scaler: QuantileScaler | None = None,
) -> "tuple[LabelledSamples, LabelledSamples, QuantileScaler | None]":
    """Bring flow features into [0, 1] and balance the training part; packets stay as they are.

    The transform is fitted on the rows of ``train`` alone, before any row is synthesised. A split that
    was balanced when the dataset was built is not balanced again.

    Args:
        config: The settings.
        dataset: Where the parts are from.
        train: The training part, as stored.
        validation: The validation part, as stored.
        scaler: The transform of the weights that the run starts from, in place of one fitted here.

    Returns:
        Both parts as the network is to see them, and the transform.

    Raises:
        UsageError: The network reads another number of values, packets are to be balanced, or a feature
            that is to be hidden is none of the dataset's.
    """
    if not are_features(train):
        if config.data.balance != "none":
            raise UsageError("data.balance is for flow features; packets are balanced by the dataset's cap")
        if config.data.hide:
            raise UsageError("data.hide is for flow features; fields of packets are hidden by data.mask")
        return train, validation, None
    values = train.dense()
    if config.model.length != values.shape[1]:
        raise UsageError(
            f"the network reads {config.model.length} values (model.tokens x model.width), and the dataset "
            f"has {values.shape[1]} features: take a recipe for them, such as cicids2017-mtc"
        )
    scaler = QuantileScaler.fit(values) if scaler is None else scaler
    features = dataset.info.features
    if config.data.hide and features is not None:
        selected = list(features.selected)
        if unknown := [name for name in config.data.hide if name not in selected]:
            raise UsageError(f"data.hide names {', '.join(unknown)}; the features are {', '.join(selected)}")
        scaler = scaler.without([selected.index(name) for name in config.data.hide])
    train, validation = (scale_samples(part, scaler) for part in (train, validation))
    balanced = features is not None and config.data.split in features.balanced_splits
    if config.data.balance == "table2" and not balanced:
        train = balance_samples(train, dataset.tasks, config.seed)
    return train, validation, scaler
