"""Names of heads among a model's weights, without PyTorch."""

from collections.abc import Container

PREFIX = "task "


def quoted_head(task: str) -> str:
    """The name of a head whose task PyTorch would take for a method of its module, or for a path."""
    return PREFIX + task.replace("%", "%25").replace(".", "%2E")


def stored_head(task: str, weights: Container[str]) -> str:
    """The name that a task's head has among the names of weights: its own, or the quoted one."""
    plain = not task.startswith(PREFIX) and f"heads.{task}.weight" in weights
    return task if plain else quoted_head(task)
