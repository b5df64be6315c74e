"""In what units a table has its times and lengths, by what its own columns say of each other.

CICFlowMeter (Java) writes durations in microseconds and payload lengths; versions of the Python
``cicflowmeter`` write the same columns in seconds, and lengths of whole frames. Names do not distinguish
them; numbers do: packets per second times duration is the number of packets, and the gaps between the packets
of a flow add up to its duration.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.flow_features.features import FEATURES

UNITS = {1.0: "seconds", 1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}
"""Units of time that are known -> how many of them are a second."""
MICROSECONDS = 1e6

TOLERANCE = 0.02
"""How far a ratio may lie from a unit: the tools round durations and rates."""
AGREEMENT = 0.9
"""Share of the rows that must agree on a unit: some tools break their own formulas in rare rows."""
SMALLEST_FRAME = 40
"""A SYN carries no payload, and its IPv4 and TCP headers alone have so many bytes."""
FRAME_ROWS = 5
"""Flows with a SYN from which on lengths of at least ``SMALLEST_FRAME`` are those of whole frames."""

_PLACE = {name: i for i, name in enumerate(FEATURES)}
_GAPS = [i for i, name in enumerate(FEATURES) if " IAT " in name]
_PAUSES = [i for i, name in enumerate(FEATURES) if name.startswith(("Active ", "Idle "))]


@dataclass(slots=True)
class TimeUnits:
    """Units of one table, found block by block.

    Attributes:
        found: Names of the units other than microseconds that rows were converted from.
        uncertain: Rows whose durations, counts and rates agree with no unit.
        rows: Rows with a number in every column that shows the unit.
        bare: Flows with a SYN, which carries no payload.
        short: Of these, those with a packet shorter than any frame.
    """

    found: set[str] = field(default_factory=set)
    uncertain: int = 0
    rows: int = 0
    bare: int = 0
    short: int = 0
    _durations: float = MICROSECONDS
    _gaps: float = MICROSECONDS

    def convert(self, values: NDArray[np.float64]) -> None:
        """Bring the times of a block of rows into microseconds, in place.

        Args:
            values: float64 (N, 78), in CICFlowMeter's order.
        """
        duration, packets = values[:, _PLACE["Flow Duration"]], _packets(values)
        gap = values[:, _PLACE["Flow IAT Mean"]]
        with np.errstate(all="ignore"):
            whole_gap = gap * (packets - 1)
            rate = values[:, _PLACE["Flow Packets/s"]] / packets
            by_duration = rate * duration
            by_gaps = rate * np.where(packets > 1, whole_gap, np.nan)
        self._count(by_duration, values)
        self._durations = _unit(by_duration, self._durations)
        # Without a rate the gaps are in the unit of the durations that they add up to.
        self._gaps = _unit(by_gaps, self._gaps if _shown(by_duration).size == 0 else self._durations)
        self._scale(values, [_PLACE["Flow Duration"]], self._durations)
        self._scale(values, _GAPS, self._gaps)
        self._scale(values, _PAUSES, self._gaps)

    def notes(self) -> list[str]:
        """What a user should know of the units, each as a phrase."""
        notes = []
        if self.found:
            units = " and ".join(sorted(self.found))
            notes.append(f"times in {units}, converted to the microseconds of CICFlowMeter")
        if self.uncertain > (1 - AGREEMENT) * self.rows:
            notes.append(
                f"in {self.uncertain:,} of {self.rows:,} rows duration, packets and packets per second agree "
                "with no unit of time: durations may not be in microseconds, and verdicts may be wrong"
            )
        if self.bare >= FRAME_ROWS and not self.short:
            notes.append(
                "packet lengths seem to be those of whole frames, as the Python cicflowmeter writes them; "
                "the model expects those of payloads, as of the Java tool, and verdicts may be wrong"
            )
        return notes

    def _count(self, ratios: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        shown = _shown(ratios)
        near = np.zeros(len(shown), np.bool_)
        for unit in UNITS:
            near |= np.abs(shown / unit - 1) < TOLERANCE
        self.rows += len(shown)
        self.uncertain += int(np.count_nonzero(~near))
        shortest = values[values[:, _PLACE["SYN Flag Count"]] > 0, _PLACE["Min Packet Length"]]
        self.bare += int(np.count_nonzero(np.isfinite(shortest)))
        self.short += int(np.count_nonzero(shortest < SMALLEST_FRAME))

    def _scale(self, values: NDArray[np.float64], places: list[int], unit: float) -> None:
        if unit != MICROSECONDS:
            values[:, places] *= MICROSECONDS / unit
            self.found.add(UNITS[unit])


def _packets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    both: NDArray[np.float64] = (
        values[:, _PLACE["Total Fwd Packets"]] + values[:, _PLACE["Total Backward Packets"]]
    )
    return both


def _shown(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratios of rows that have all that it takes: positive durations, rates and counts."""
    return ratios[np.isfinite(ratios) & (ratios > 0)]


def _unit(ratios: NDArray[np.float64], otherwise: float) -> float:
    """The unit that most rows agree on, or ``otherwise`` where they do not."""
    shown = _shown(ratios)
    for unit in UNITS:
        if len(shown) and np.mean(np.abs(shown / unit - 1) < TOLERANCE) >= AGREEMENT:
            return unit
    return otherwise
