"""The captures of a job, opened under their clients' names and within the job's budget."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from mtc.capture import ByteBudget, Source, expand_inputs
from mtc.errors import CaptureError
from mtc.inference import Classifier


class TooMuch(CaptureError):  # noqa: N818 - it reads as a statement about the upload
    """An upload unpacks to more than is allowed."""


def sources_of(task: dict[str, Any], problems: list[str]) -> tuple[list[Source], ByteBudget]:
    """The captures, in the order of the upload, and the budget that reading them takes from.

    Args:
        task: ``captures`` (``name`` and ``path`` of each), ``unpacked_bytes``, ``members``.
        problems: A line is appended for each member of an archive that is no capture.

    Raises:
        TooMuch: There are more captures than allowed, or they unpack to too much already.
    """
    budget = ByteBudget(task["unpacked_bytes"])
    found = []
    for source in _expanded(task["captures"], budget, problems):
        found.append(source)
        if len(found) > task["members"]:
            raise TooMuch(f"more than {task['members']:,} captures in this upload")
    check(budget, task)
    return found, budget


def check(budget: ByteBudget, task: dict[str, Any]) -> None:
    """Refuse an upload that has unpacked to too much.

    Raises:
        TooMuch: It has.
    """
    if budget.exceeded:
        raise TooMuch(f"this upload unpacks to more than {task['unpacked_bytes']:,} bytes")


def _expanded(captures: list[dict[str, str]], budget: ByteBudget, problems: list[str]) -> Iterator[Source]:
    for capture in captures:
        path, name = capture["path"], capture["name"]

        def skip(found: str, reason: str, path: str = path, name: str = name) -> None:
            problems.append(f"{_shown(found, path, name)}: {reason}")

        for source in expand_inputs([path], on_skip=skip, budget=budget):
            yield replace(source, name=_shown(source.name, path, name))


def _shown(found: str, path: str, name: str) -> str:
    return name + found.removeprefix(path)


@lru_cache(maxsize=4)
def classifier(name_or_path: str) -> Classifier:
    """A model, ready for use."""
    return Classifier.load(name_or_path)
