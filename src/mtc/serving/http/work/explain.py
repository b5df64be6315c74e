"""Why a packet got its verdict, byte by byte."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.flows import SampleStream
from mtc.inference.explain.attribution import Explanation, field_groups
from mtc.inference.explain.attribution import explain as explain_samples
from mtc.packets.fields import PAYLOAD
from mtc.serving.http.work.sources import check, classifier, sources_of

Report = Callable[[dict[str, Any]], None]


def run(task: dict[str, Any], report: Report) -> dict[str, Any]:
    """Explain the verdict on a packet.

    Args:
        task: ``capture`` (name), ``packet`` (number, from 1), ``task`` and ``label`` (or None), and what
            every task has.
        report: Not used: the answer comes at once.

    Returns:
        What ``mtc explain --json`` prints, with ``data`` (the bytes of the packet) and ``names``
        (what each byte belongs to). Under pseudonyms the payload's bytes are left out of ``data``: they
        may hold addresses.

    Raises:
        MtcError: There is no such packet, or it is no sample, or the model cannot be explained.
    """
    chosen = classifier(task["model"])
    (found,) = explain_samples(chosen.model, _sample(task), task["task"], task["label"])
    answer = found.to_dict()
    names = _names(found, len(answer["bytes"]))
    data: list[int | None] = [int(value) for value in found.sample[: len(names)]]
    if task["pseudonym_key"] is not None:
        data = [None if names[i].startswith(PAYLOAD) else value for i, value in enumerate(data)]
    return {"capture": task["capture"], "packet": task["packet"], **answer, "data": data, "names": names}


def _names(found: Explanation, length: int) -> list[str]:
    names = [PAYLOAD] * length
    for name, places in field_groups(found.sample).items():
        for place in places[places < length]:
            names[int(place)] = name
    return names


def _sample(task: dict[str, Any]) -> NDArray[np.uint8]:
    """uint8 (1, 1500)."""
    sources, budget = sources_of(task, [])
    source = next(s for s in sources if s.name == task["capture"])
    with SampleStream(source) as stream:
        for piece in stream:
            if budget.exceeded:
                check(budget, task)
            numbers = piece.headers["packet"]
            row = int(numbers.searchsorted(task["packet"]))
            if row < len(numbers) and numbers[row] == task["packet"]:
                return piece.samples[row : row + 1].copy()
            if len(numbers) and numbers[-1] > task["packet"]:
                break
    raise UsageError(f"packet {task['packet']} is not there, or carries nothing a verdict is made of")
