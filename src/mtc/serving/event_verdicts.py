"""Verdicts as the events of a watch have them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.columns import CONFLICT, UNKNOWN, VPN
from mtc.inference import Classifier
from mtc.inference.verdict_builder import VerdictBuilder, reject_unsure
from mtc.serving.watch_settings import WatchSettings


class EventVerdicts:
    """Turns probabilities into the verdicts that events hold."""

    def __init__(
        self, classifier: Classifier, settings: WatchSettings, thresholds: Mapping[str, float] | None
    ) -> None:
        """Prepare; arguments as for ``WatchEngine``."""
        self._settings = settings
        self._tasks = tuple(classifier.tasks)
        self._builder = VerdictBuilder(classifier.tasks, classifier.model.card.pairs)
        self._thresholds = dict(thresholds or {})

    def of(self, probabilities: Mapping[str, NDArray[np.float32]]) -> Iterator[dict[str, Any]]:
        """Verdicts of flow after flow, float32 (N, classes) for each task."""
        return map(self._as_event, self._builder.rows(probabilities))

    def nothing(self) -> dict[str, Any]:
        """The verdicts of a flow of which nothing was computed."""
        return self._as_event(self._builder.nothing())

    def _as_event(self, row: dict[str, Any]) -> dict[str, Any]:
        """The fields of a verdict row as events have them."""
        likeliest = {task: row[task]["label"] for task in self._tasks if row[task]}
        reject_unsure(row, self._thresholds)
        for name in (*self._tasks, VPN):
            found = row.get(name)
            if found and found["label"] == UNKNOWN and name in likeliest:
                found["likeliest"] = likeliest[name]
            if found and not self._settings.probabilities:
                del found["probabilities"]
        fields = {"tasks": {task: row[task] for task in self._tasks}}
        return fields | {name: row[name] for name in (VPN, CONFLICT) if name in row}
