"""The last layers, one a task, whatever tasks are called."""

from collections.abc import ItemsView, Mapping

from torch import nn

from mtc.models.head_names import PREFIX, quoted_head


def head_name(task: str) -> str:
    """Name of a task's head among the weights: the task's own, but where a module may not have it.

    PyTorch takes a name such as ``type`` or ``float`` for a method of the module, and a dot for a path.
    """
    plain = not hasattr(nn.ModuleDict, task) and not hasattr(_EMPTY, task) and "." not in task
    return task if plain and not task.startswith(PREFIX) else quoted_head(task)


class Heads(nn.ModuleDict):
    """A layer for each task; distinguished by task in ``items``, and by ``head_name`` among the weights."""

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__({head_name(task): head for task, head in heads.items()})
        self._tasks = tuple(heads)

    def items(self) -> ItemsView[str, nn.Module]:
        """Task and head."""
        return dict(zip(self._tasks, self.values(), strict=True)).items()


_EMPTY = nn.ModuleDict()
