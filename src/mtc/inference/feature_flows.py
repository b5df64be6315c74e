"""Verdicts of models that read flow features, on the flows of captures."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc.capture import Source, open_capture
from mtc.config import Precision
from mtc.datasets.flow_features.columns import values_of_flows
from mtc.datasets.flow_features.features import positions
from mtc.errors import UsageError
from mtc.flows.features import FeatureRows, FeatureTable, convention_named
from mtc.inference.captures import CaptureEnd
from mtc.inference.feature_rows import feature_verdicts
from mtc.inference.settings import VerdictSettings
from mtc.inference.verdict_builder import Below
from mtc.inference.verdicts import CaptureVerdicts
from mtc.models import LoadedModel
from mtc.parallel import Advance

_Part = tuple[FeatureRows, dict[str, NDArray[np.float32]], Below]
"""Flows, their probabilities, and which are below the model's threshold."""

UNLIKE, BEYOND, FEWEST = 1.75, 0.05, 5
"""A capture is unlike the training data from so many times the usual share of values that were not seen, or
from so large a share of flows with a value beyond all training rows; of fewer flows nothing is said.
Measured on rows of the training days and captures of elsewhere, see docs/cicids2017.md."""


def feature_table(model: LoadedModel, settings: VerdictSettings) -> FeatureTable:
    """An empty table of flows by the convention that a model was trained on.

    Raises:
        UsageError: The filter is wrong.
    """
    return FeatureTable(
        convention_named(model.card.convention),
        decapsulate=settings.decapsulate,
        selection=settings.selection,
    )


@dataclass(frozen=True, slots=True)
class FeatureInference:
    """A model of flow features and its settings, for capture after capture.

    Attributes:
        model: One that reads flow features.
        precision: ``exact`` or ``auto``.
        settings: Which packets count; nothing else of it concerns whole flows.
    """

    model: LoadedModel
    precision: Precision
    settings: VerdictSettings

    def __post_init__(self) -> None:
        if self.settings.packets is not None or self.settings.early is not None:
            raise UsageError("a model of flow features reads whole flows, not their first packets")

    def run(
        self, source: Source, advance: Advance = lambda done: None
    ) -> Generator[CaptureVerdicts, None, CaptureEnd]:
        """Verdicts on a capture; flows are delimited as the model's convention has it.

        Args:
            source: What ``mtc.capture.expand_inputs`` yields.
            advance: Called with the bytes newly read after each batch.

        Yields:
            The flows, once, at the end of the capture.

        Raises:
            CaptureError: Nothing can be read from it.
        """
        table = feature_table(self.model, self.settings)
        strangeness = Strangeness(self.model)
        parts = []
        with open_capture(source) as reader:
            seen = 0
            for batch in reader:
                parts.append(self._judged(table.update(batch), strangeness))
                advance(reader.bytes_read - seen)
                seen = reader.bytes_read
            parts += [self._judged(rows, strangeness) for rows in table.finish()]
            damage = None if reader.damage is None else str(reader.damage)
        rows, probabilities, below = _joined(parts)
        card = self.model.card
        yield CaptureVerdicts(
            capture=source.name,
            tasks={task: tuple(classes) for task, classes in card.tasks.items()},
            flows=rows.records(),
            samples=np.ones(len(rows), np.int64),
            probabilities=probabilities,
            packets=table.packets,
            left_out=dict(table.left_out),
            damage=damage,
            pairs=card.pairs,
            below=below,
            reject=self.settings.reject,
        )
        return CaptureEnd(
            capture=source.name,
            flows=len(rows),
            packets=table.packets,
            samples=len(rows),
            judged=len(rows),
            computed=len(rows),
            flows_computed=0,  # how unlike they are, is said by a note
            flows_unlike=0,
            left_out=dict(table.left_out),
            damage=damage,
            notes=(*strangeness.notes(), *_notes(self.model, table)),
        )

    def _judged(self, rows: FeatureRows, strangeness: "Strangeness") -> _Part:
        """Flows and their probabilities; the features are not kept."""
        values = values_of_flows(rows)
        strangeness.add(values)
        found, below = feature_verdicts(self.model, values, self.precision, "flow")
        return rows.without_values(), found, below


class Strangeness:
    """How unlike the training data the flows of a capture are."""

    def __init__(self, model: LoadedModel) -> None:
        self._scaler, self._usual = model.scaler, model.card.unseen
        self._places = positions(tuple(model.card.features))
        self._flows = self._beyond = 0
        self._unseen = 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Count flows by their 78 features, float64 (N, 78)."""
        if self._scaler is not None and len(values):
            shares, beyond = self._scaler.unseen(values[:, self._places])
            self._flows += len(values)
            self._unseen += float(shares.sum())
            self._beyond += int(np.count_nonzero(beyond))

    def notes(self) -> tuple[str, ...]:
        """One sentence where verdicts mean little, else none; few flows say nothing."""
        if self._flows < FEWEST or not self._usual:
            return ()
        share, beyond = self._unseen / self._flows, self._beyond / self._flows
        if share <= UNLIKE * self._usual and beyond <= BEYOND:
            return ()
        return (
            f"unlike the training data: {share:.0%} of its values were not seen there ({self._usual:.0%} is "
            f"usual), {beyond:.0%} of its flows lie beyond them; the verdicts mean little",
        )


def _joined(parts: list[_Part]) -> _Part:
    """All flows of a capture by first packet."""
    rows = FeatureRows.joined([found for found, _, _ in parts])
    order = np.argsort(rows.number, kind="stable")
    probabilities = {t: np.concatenate([p[t] for _, p, _ in parts])[order] for t in parts[0][1]}
    below = {t: np.concatenate([b[t] for _, _, b in parts])[order] for t in parts[0][2]}
    return rows.take(order), probabilities, below


def _notes(model: LoadedModel, table: FeatureTable) -> tuple[str, ...]:
    if not table.unwritten:
        return ()
    return (
        f"{table.unwritten:,} flows of one packet have no verdict: the convention {model.card.convention}, "
        "which the model was trained on, writes none",
    )
