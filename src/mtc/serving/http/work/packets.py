"""The packets of a flow: when, which way, how long, and a verdict or why there is none."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.flows import SampleStream
from mtc.inference import Classifier
from mtc.packets import REASONS
from mtc.serving.http.work.sources import check, classifier, sources_of

Report = Callable[[dict[str, Any]], None]


def run(task: dict[str, Any], report: Report) -> dict[str, Any]:
    """Find packets of a flow.

    Args:
        task: ``capture`` (name), ``flow`` (number within the capture, from 0), ``offset`` and ``limit``,
            and what every task has.
        report: Not used: the answer comes at once.

    Returns:
        ``packets``: a dict each; ``more``: whether there are further ones.

    Raises:
        MtcError: The capture cannot be read.
    """
    chosen = classifier(task["model"])
    sources, budget = sources_of(task, [])
    source = next(s for s in sources if s.name == task["capture"])
    rows: list[dict[str, Any]] = []
    seen = 0
    sender: tuple[int, int, int] | None = None
    with SampleStream(source, mask=chosen.mask) as stream:
        for piece in stream:
            if budget.exceeded:
                check(budget, task)
            if stream.batch is None or stream.batch_flows is None or stream.batch_headers is None:
                continue
            found = np.flatnonzero(stream.batch_flows == task["flow"])
            if not len(found):
                continue
            headers = stream.batch_headers
            if sender is None:
                sender = _sender(headers, int(found[0]))
            wanted = found[max(0, task["offset"] - seen) :][: task["limit"] + 1 - len(rows)]
            seen += len(found)
            samples = _samples(stream, piece.headers["packet"], piece.samples, wanted)
            verdicts = _verdicts(chosen, samples)
            for place in wanted:
                number = int(place) + stream.batch.first_packet
                rows.append(
                    {
                        "packet": number,
                        "time": int(stream.batch.timestamps[place]) / 1e9,
                        "forward": _sender(headers, int(place)) == sender,
                        "bytes": int(stream.batch.wirelens[place]),
                        "left_out": REASONS[headers.reason[place]] or None,
                        **verdicts.get(number, dict.fromkeys(chosen.tasks)),
                    }
                )
            if len(rows) > task["limit"]:
                break
    return {"packets": rows[: task["limit"]], "more": len(rows) > task["limit"]}


def _sender(headers: Any, place: int) -> tuple[int, int, int]:
    high, low = headers.src[place]
    return int(high), int(low), int(headers.src_port[place])


def _samples(
    stream: SampleStream, numbers: NDArray[np.int64], samples: NDArray[np.uint8], wanted: NDArray[np.int64]
) -> dict[int, NDArray[np.uint8]]:
    """Number of each wanted packet that is a sample -> its sample."""
    assert stream.batch is not None
    asked = wanted + stream.batch.first_packet
    rows = np.flatnonzero(np.isin(numbers, asked))
    return {int(numbers[row]): samples[row].copy() for row in rows}


def _verdicts(chosen: Classifier, samples: dict[int, NDArray[np.uint8]]) -> dict[int, dict[str, Any]]:
    """Number -> label and confidence by task."""
    if not samples:
        return {}
    probabilities = chosen.predict(np.stack(list(samples.values())))
    rows: dict[int, dict[str, Any]] = {number: {} for number in samples}
    for task, labels in chosen.tasks.items():
        for number, values in zip(samples, probabilities[task], strict=True):
            best = int(values.argmax())
            rows[number][task] = {"label": labels[best], "confidence": round(float(values[best]), 6)}
    return rows
