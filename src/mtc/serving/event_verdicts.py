"""Verdicts as the events of a watch have them."""

from collections.abc import Iterator
from typing import Any

from mtc.columns import CONFLICT, UNKNOWN, VPN
from mtc.inference import Classifier
from mtc.inference.verdict_builder import Below, Probabilities, VerdictBuilder
from mtc.serving.watch_settings import WatchSettings


class EventVerdicts:
    """Turns probabilities into the verdicts that events hold."""

    def __init__(self, classifier: Classifier, settings: WatchSettings, *, reject: bool) -> None:
        """Prepare; arguments as for ``WatchEngine``."""
        self._settings = settings
        self._tasks = tuple(classifier.tasks)
        self._builder = VerdictBuilder(classifier.tasks, classifier.model.card.pairs)
        self._reject = reject

    def of(self, probabilities: Probabilities, below: Below) -> Iterator[dict[str, Any]]:
        """Verdicts of flow after flow; arguments as of ``VerdictBuilder.rows``."""
        return map(self._as_event, self._builder.rows(probabilities, below if self._reject else None))

    def nothing(self) -> dict[str, Any]:
        """The verdicts of a flow of which nothing was computed."""
        return self._as_event(self._builder.nothing())

    def _as_event(self, row: dict[str, Any]) -> dict[str, Any]:
        """The fields of a verdict row as events have them."""
        for name in (*self._tasks, VPN):
            found = row.get(name)
            if found and found["label"] == UNKNOWN and name != VPN:
                found["likeliest"] = max(found["probabilities"], key=found["probabilities"].__getitem__)
            if found and not self._settings.probabilities:
                del found["probabilities"]
        fields = {"tasks": {task: row[task] for task in self._tasks}}
        return fields | {name: row[name] for name in (VPN, CONFLICT) if name in row}
