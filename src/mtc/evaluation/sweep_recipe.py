"""A sweep: a recipe, values of some of its settings, and seeds, with the paper's scores.

A sweep recipe is a TOML file:

    title     one line
    base      the recipe that is varied
    settings  ``key=value``, what all of its runs have besides the base
    seeds     the seeds of every point
    grid      setting -> its values; every combination is a point
    paper     tables with ``at`` (setting -> value) and, by task, F1 and recall in percent
"""

import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mtc.config import RunConfig, load_recipe, recipe_names
from mtc.errors import ConfigError

KEYS = frozenset({"title", "base", "settings", "seeds", "grid", "paper"})

Point = Mapping[str, Any]
"""Setting -> value, of one combination of the grid."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep, every run of which has been checked.

    Attributes:
        title: One line.
        base: The recipe that is varied, by name or path.
        settings: ``key=value``, for all runs.
        seeds: Seeds of every point.
        grid: Setting -> its values.
        paper: Points of the paper's table and what it reports there: task -> (F1, recall) in percent.
    """

    title: str
    base: str
    settings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1, 2, 3)
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    paper: tuple[tuple[Point, Mapping[str, tuple[float, float]]], ...] = ()

    def points(self) -> Iterator[Point]:
        """Every combination, the last setting changing fastest."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def config(self, point: Point, seed: int) -> RunConfig:
        """Settings of one run."""
        varied = (f"{key}={toml_text(value)}" for key, value in point.items())
        return load_recipe(self.base, (*self.settings, *varied, f"seed={seed}"))

    def published(self, point: Point) -> Mapping[str, tuple[float, float]]:
        """Task -> F1 and recall, in percent, that the paper reports for a point; empty if it has none."""
        return next((scores for at, scores in self.paper if at == point), {})


def load_sweep(
    recipe: str | Path,
    settings: Sequence[str] = (),
    over: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> Sweep:
    """Read a sweep recipe, or make a sweep of a plain recipe.

    Args:
        recipe: A TOML file, or the name of a sweep or recipe shipped inside the package.
        settings: ``key=value``, for all runs, besides those of the recipe.
        over: ``key=[value, ...]``, more settings to vary.
        seeds: Seeds, in place of those of the recipe.

    Raises:
        ConfigError: No such recipe, an unknown key, or a setting or value that no run can take.
    """
    values = _read(recipe)
    unknown = values.keys() - KEYS
    if unknown:
        raise ConfigError(f"{recipe}: unknown keys of a sweep: {', '.join(sorted(unknown))}")
    try:
        grid = {str(key): tuple(choices) for key, choices in values.get("grid", {}).items()}
        paper = tuple(_paper_row(row) for row in values.get("paper", ()))
        sweep = Sweep(
            title=str(values.get("title", recipe)),
            base=str(values["base"]),
            settings=(*map(str, values.get("settings", ())), *settings),
            seeds=tuple(int(seed) for seed in seeds or values.get("seeds", (1, 2, 3))),
            grid=grid | dict(map(_axis, over)),
            paper=paper,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{recipe}: not a sweep ({type(error).__name__}: {error})") from error
    if not all(sweep.grid.values()) or not sweep.seeds:
        raise ConfigError(f"{recipe}: every setting that is varied needs a value, and a sweep a seed")
    if len(set(sweep.seeds)) < len(sweep.seeds):
        raise ConfigError("a seed is named twice")
    for point in sweep.points():
        sweep.config(point, sweep.seeds[0])
    return sweep


def sweep_names() -> list[str]:
    """Names of the sweeps shipped inside the package, sorted."""
    folder = resources.files("mtc") / "recipes" / "sweeps"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir())


def toml_text(value: Any) -> str:
    """A plain value as TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return json.dumps(value)


def point_text(point: Point) -> str:
    """A point in a line: ``repetitions=[1, 5, 6]``, ``weights=6:2:1``."""
    return ", ".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in point.items())


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ":".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value.values())
    return value if isinstance(value, str) else json.dumps(value)


def _read(recipe: str | Path) -> dict[str, Any]:
    path, name = Path(recipe), str(recipe)
    try:
        if path.is_file():
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            return values if "base" in values else {"base": name}
        if name in sweep_names():
            file = resources.files("mtc") / "recipes" / "sweeps" / f"{name}.toml"
            return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise ConfigError(f"{recipe}: not a readable TOML recipe ({error})") from error
    if name in recipe_names():
        return {"base": name}
    known = ", ".join((*sweep_names(), *recipe_names()))
    raise ConfigError(f"no recipe {name!r}: not a file, and shipped are {known}")


def _axis(text: str) -> tuple[str, tuple[Any, ...]]:
    key, separator, choices = text.partition("=")
    try:
        values = tomllib.loads(f"values = {choices}")["values"] if separator and key else None
    except (tomllib.TOMLDecodeError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise ConfigError(f"--over takes key=[value, ...], not {text!r}")
    return key.strip(), tuple(values)


def _paper_row(row: Mapping[str, Any]) -> tuple[Point, Mapping[str, tuple[float, float]]]:
    scores = {task: (float(both[0]), float(both[1])) for task, both in row.items() if task != "at"}
    return dict(row["at"]), scores
