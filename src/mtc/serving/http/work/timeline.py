"""Traffic by class over time: bytes on the wire, in equal stretches of time."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.capture import Source
from mtc.flows import SampleStream

BINS = 120
NO_FLOW = "no flow"
"""What belongs to no flow: ARP, ICMP and the like."""

Marks = tuple[tuple[str, ...], NDArray[np.int64]]
"""Names of the classes of a task, and the place of each flow's verdict among them."""


@dataclass(slots=True)
class Timeline:
    """Bytes by time and class of each task.

    Attributes:
        start: Time of the first stretch, ns since the epoch.
        end: Time at which the last one ends.
        counts: Task -> class -> float64 (BINS,), bytes.
    """

    start: int
    end: int
    counts: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, source: Source, marks: dict[str, Marks], decapsulate: bool) -> None:
        """Count the packets of a capture, whose flows have got their ``marks`` by task."""
        width = max(1, -(-(self.end - self.start + 1) // BINS))
        with SampleStream(source, decapsulate=decapsulate, build=False) as stream:
            for _ in stream:
                batch, flows = stream.batch, stream.batch_flows
                if batch is None or flows is None or not len(batch):
                    continue
                place = np.clip((batch.timestamps - self.start) // width, 0, BINS - 1)
                sizes = batch.wirelens.astype(np.float64)
                for task, (names, mark) in marks.items():
                    known = flows < len(mark)
                    classes = np.where(known & (flows >= 0), mark[np.where(known, flows, 0)], len(names))
                    self._count(task, (*names, NO_FLOW), classes, place, sizes)

    def _count(
        self,
        task: str,
        names: tuple[str, ...],
        classes: NDArray[np.int64],
        place: NDArray[np.int64],
        sizes: NDArray[np.float64],
    ) -> None:
        flat = np.bincount(classes * BINS + place, weights=sizes, minlength=len(names) * BINS)
        for name, row in zip(names, flat.reshape(-1, BINS), strict=True):
            if row.any():
                counts = self.counts.setdefault(task, {})
                counts[name] = counts.get(name, np.zeros(BINS)) + row

    def to_dict(self) -> dict[str, Any]:
        """``start`` and ``step`` in seconds, and bytes by task and class."""
        width = max(1, -(-(self.end - self.start + 1) // BINS))
        return {
            "start": self.start / 1e9,
            "step": width / 1e9,
            "bytes": {
                task: {name: [int(n) for n in row] for name, row in rows.items()}
                for task, rows in self.counts.items()
            },
        }
