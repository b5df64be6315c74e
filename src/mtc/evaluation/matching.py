"""Labels of a dataset as a model numbers them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import Dataset
from mtc.errors import UsageError
from mtc.models import ModelCard
from mtc.tasks import UNLABELLED, Tasks


def shared_tasks(card: ModelCard, dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """The model's tasks that a dataset has too, with the model's classes.

    Raises:
        UsageError: There is none, or the dataset holds other features than the model reads.
    """
    tasks = {task: tuple(classes) for task, classes in card.tasks.items() if task in dataset.tasks}
    if not tasks:
        raise UsageError(
            f"the model knows {', '.join(card.tasks)}, and the dataset has {', '.join(dataset.tasks)}: "
            "no task in common"
        )
    if dataset.info.features is not None and dataset.info.features.selected != tuple(card.features):
        raise UsageError(f"{dataset.path}: holds other features than the model reads")
    return tasks


def match_labels(
    tasks: Tasks, dataset_tasks: Tasks, labels: Mapping[str, NDArray[np.int64]]
) -> tuple[dict[str, tuple[str, ...]], dict[str, NDArray[np.int64]]]:
    """Number a dataset's labels as a model does; labels that it does not know come behind.

    Args:
        tasks: Task -> classes of the model.
        dataset_tasks: Task -> classes of the dataset.
        labels: Task -> int64 (N,), as the dataset numbers them, -1 where there is none.

    Returns:
        Task -> classes, those that the model does not know behind, and task -> int64 (N,).
    """
    classes, matched = {}, {}
    for task, known in tasks.items():
        unknown = tuple(label for label in dataset_tasks[task] if label not in known)
        classes[task] = tuple(known) + unknown
        place = {label: i for i, label in enumerate(classes[task])}
        index = np.array([place[label] for label in dataset_tasks[task]] + [UNLABELLED], np.int64)
        matched[task] = index[labels[task]]  # -1, no label, takes the last
    return classes, matched
