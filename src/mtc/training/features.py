"""What a run does with flow features: fit their transform on its training rows, and balance those."""

from typing import TYPE_CHECKING

from mtc.config import RunConfig
from mtc.datasets.flow_features.features import QuantileScaler
from mtc.datasets.flow_features.samples import are_features, balance_samples, scale_samples
from mtc.errors import UsageError

if TYPE_CHECKING:
    from mtc.datasets import Dataset, LabelledSamples


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
