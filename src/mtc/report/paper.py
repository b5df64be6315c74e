"""The paper's numbers, from ``paper.toml``."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any

SCORES = ("macro_f1", "macro_recall")
"""The two scores of the paper, named as in ``metrics.json``, in their order."""

ROW_KEYS = frozenset({"name", "recipes", "at"})


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A row of a table of the paper.

    Attributes:
        name: As the paper writes it.
        scores: Task -> score (``macro_f1``, ``macro_recall``) -> value in [0, 1].
        recipes: Recipes shipped with this package that are this row.
        at: In a sweep, the value of the setting.
    """

    name: str
    scores: Mapping[str, Mapping[str, float]]
    recipes: tuple[str, ...] = ()
    at: Any = None


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table of the paper.

    Attributes:
        number: Its number there.
        title: One line.
        rows: In the paper's order.
        setting: In a sweep, the setting that is varied.
        sweep: In a sweep, the name of the recipe shipped with this package.
    """

    number: int
    title: str
    rows: tuple[PublishedRow, ...]
    setting: str | None = None
    sweep: str | None = None
    tasks: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        tasks = dict.fromkeys(task for row in self.rows for task in row.scores)
        object.__setattr__(self, "tasks", tuple(tasks))

    def row(self, name: str) -> PublishedRow | None:
        """The row of that name, or of the recipe of that name."""
        return next((row for row in self.rows if name == row.name or name in row.recipes), None)


@functools.cache
def published_tables() -> Mapping[int, PublishedTable]:
    """Tables 4 to 9 by number. Source: the paper's Tables 4 to 9."""
    return MappingProxyType({int(n): _table(int(n), values) for n, values in _content()["tables"].items()})


@functools.cache
def paper_protocol() -> Mapping[str, str]:
    """Task -> the split of ours that is the paper's protocol."""
    return MappingProxyType(dict(_content()["protocol"]))


def paper_source() -> str:
    """Where the numbers are from, in a line."""
    return str(_content()["source"])


@functools.cache
def _content() -> dict[str, Any]:
    return tomllib.loads((resources.files("mtc.report") / "paper.toml").read_text(encoding="utf-8"))


def _table(number: int, values: Mapping[str, Any]) -> PublishedTable:
    rows = tuple(
        PublishedRow(
            name=row["name"],
            scores={
                task: dict(zip(SCORES, (round(value / 100, 6) for value in both), strict=False))
                for task, both in row.items()
                if task not in ROW_KEYS
            },
            recipes=tuple(row.get("recipes", ())),
            at=row.get("at"),
        )
        for row in values["rows"]
    )
    return PublishedTable(number, values["title"], rows, values.get("setting"), values.get("sweep"))
