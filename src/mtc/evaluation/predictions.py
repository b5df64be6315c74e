"""What a trained model says of a part of a dataset, its own or another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import Dataset, LabelledSamples
from mtc.datasets.flow_features.samples import scale_samples
from mtc.errors import UsageError
from mtc.evaluation.matching import match_labels, shared_tasks
from mtc.files import read_json
from mtc.inference import find_model
from mtc.models import LoadedModel, load_model
from mtc.models.temperature import Logits
from mtc.tasks import Tasks

Progress = Callable[[int, int], None]
"""Called with the samples done since the last call, and with all there are."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """A model, samples, and what it says of them.

    Attributes:
        name: The model, as it was named.
        loaded: The model.
        dataset: Where the samples are from.
        split: The split of which they are a part.
        part: The part.
        samples: As the model sees them.
        classes: Task -> the model's classes, and behind them those that only the dataset has; of the
            tasks that both have.
        labels: Task -> int64 (N,), index in ``classes``, -1 where there is no label.
        logits: Task -> float (N, classes of the model).
    """

    name: str
    loaded: LoadedModel
    dataset: Dataset
    split: str
    part: str
    samples: LabelledSamples
    classes: Tasks
    labels: Mapping[str, NDArray[np.int64]]
    logits: Mapping[str, Logits]


def own_dataset(model: str | Path) -> Dataset:
    """The dataset that a run was trained on.

    Raises:
        UsageError: The model is no run, and does not say.
        DatasetError: The dataset is not there any more.
    """
    folder = find_model(model)
    if not (folder / "run.json").is_file():
        raise UsageError(f"{folder} does not say which dataset it was trained on: give one with --data")
    return Dataset.open(read_json(folder / "run.json")["dataset"]["path"])


def predict(
    model: str | Path,
    dataset: Dataset | None = None,
    part: str | None = None,
    *,
    progress: Progress | None = None,
) -> Predictions:
    """Let a model look at a part of a dataset; arguments and errors as of ``mtc.evaluation.evaluate``."""
    loaded = load_model(find_model(model))
    card = loaded.card
    dataset = own_dataset(model) if dataset is None else dataset
    if part is None:
        part = "test" if dataset.hash == card.dataset.get("hash") else "all"
    tasks = shared_tasks(card, dataset)
    split = card.config.data.split if card.config.data.split in dataset.splits else dataset.splits[0]
    samples = scale_samples(dataset.part(split, part, mask=card.config.data.mask), loaded.scaler)
    if not len(samples):
        raise UsageError(f"{dataset.path}: the part {part!r} of the split {split!r} is empty")

    def advance(done: int) -> None:
        if progress is not None:
            progress(done, len(samples))

    classes, labels = match_labels(tasks, dataset.tasks, samples.labels)
    logits = loaded.logits(samples.data, samples.offsets, advance=advance)
    return Predictions(
        name=str(model),
        loaded=loaded,
        dataset=dataset,
        split=split,
        part=part,
        samples=samples,
        classes=classes,
        labels=labels,
        logits={task: logits[task] for task in classes},
    )
