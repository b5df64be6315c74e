"""Which packets of a capture count at all: a filter as of tcpdump, and a window of time."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.errors import UsageError
from mtc.packets.reasons import DUPLICATE, FILTERED, OUTSIDE_WINDOW, SAMPLE

_SECONDS = re.compile(r"([+-]?\d{1,10})(?:\.(\d+))?")
_LIMIT = 1 << 63
_COMMON_LINKS = (1, 101, 105, 113)
"""Ethernet, raw IP, 802.11, Linux cooked: a filter has to mean something on one of them."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Packets that are looked at; all others are counted as ``filtered`` or ``outside_window``.

    Attributes:
        bpf: A filter as for tcpdump, on packets as they were captured (outside any tunnel); empty: all.
        start_ns: Time of the first packet that counts, nanoseconds since the epoch; None: any.
        end_ns: Time of the first packet after the window; None: none.
        drop_duplicates: Whether copies of packets just before are left out (``CaptureChecks``).
    """

    bpf: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    drop_duplicates: bool = False

    def __post_init__(self) -> None:
        if self.start_ns is not None and self.end_ns is not None and self.start_ns >= self.end_ns:
            raise UsageError("the window of time ends before it begins")

    @classmethod
    def of(
        cls,
        bpf: str = "",
        start: str | float | datetime | None = None,
        end: str | float | datetime | None = None,
        drop_duplicates: bool = False,
    ) -> "Selection":
        """From times as people write them, see ``time_ns``."""
        return cls(
            bpf,
            None if start is None else time_ns(start),
            None if end is None else time_ns(end),
            drop_duplicates,
        )

    @property
    def takes_all(self) -> bool:
        """Whether no packet can be left out."""
        window = self.start_ns is not None or self.end_ns is not None
        return not (self.bpf.strip() or window or self.drop_duplicates)


class Selector:
    """Applies a selection to the batches of a capture; a filter is compiled once for each link type.

    No packet passes a filter that means nothing on its link, such as ``ether host`` on raw IP.
    """

    def __init__(self, selection: Selection) -> None:
        """Prepare.

        Raises:
            UsageError: The filter is wrong, or what compiles it is not installed.
        """
        self._selection = selection
        self._programs: dict[int, NDArray[np.int64] | None] = {}
        if selection.bpf.strip() and not any(self._program(link) is not None for link in _COMMON_LINKS):
            from mtc.capture.bpf import compile_filter

            compile_filter(selection.bpf, _COMMON_LINKS[0])  # raises what is wrong with it

    def reasons(self, batch: PacketBatch, copies: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Why each packet is left out, uint8 (N,): an index into ``REASONS``, 0 where it is not.

        Of several reasons the window of time counts first, then the filter.

        Args:
            batch: The packets.
            copies: bool (N,), which of them are copies of another.
        """
        reasons = np.full(len(batch), SAMPLE, np.uint8)
        if self._selection.drop_duplicates:
            reasons[copies] = DUPLICATE
        if self._selection.bpf.strip():
            reasons[~self._pass_filter(batch)] = FILTERED
        start, end = self._selection.start_ns, self._selection.end_ns
        if start is not None:
            reasons[batch.timestamps < start] = OUTSIDE_WINDOW
        if end is not None:
            reasons[batch.timestamps >= end] = OUTSIDE_WINDOW
        return reasons

    def _pass_filter(self, batch: PacketBatch) -> NDArray[np.bool_]:
        from mtc.capture.bpf import passes  # compiled kernels that only filters need

        passed = np.zeros(len(batch), np.bool_)
        for link_type in np.unique(batch.link_types).tolist():
            program = self._program(link_type)
            if program is not None:
                passed |= (batch.link_types == link_type) & passes(program, batch)
        return passed

    def _program(self, link_type: int) -> NDArray[np.int64] | None:
        """The filter for a link type; None where it cannot be compiled for that."""
        from mtc.capture.bpf import FilterError, compile_filter

        if link_type not in self._programs:
            try:
                self._programs[link_type] = compile_filter(self._selection.bpf, link_type)
            except FilterError:
                self._programs[link_type] = None
        return self._programs[link_type]


def time_ns(value: str | float | datetime) -> int:
    """A point in time as nanoseconds since the epoch.

    Args:
        value: Unix seconds, or ISO 8601 such as ``2026-11-23T15:00`` or ``2026-11-23T16:00:00.5+01:00``.
            Without a zone it is UTC.

    Raises:
        UsageError: It is neither, or too far away.
    """
    if isinstance(value, datetime):
        at = value
    elif not isinstance(value, str):
        return _in_range(round(float(value) * 1e9) if np.isfinite(value) else _LIMIT, value)
    elif found := _SECONDS.fullmatch(value.strip()):
        whole, part = found[1], (found[2] or "")[:9].ljust(9, "0")
        return _in_range(int(whole) * 10**9 + (-int(part) if whole.startswith("-") else int(part)), value)
    else:
        try:
            at = datetime.fromisoformat(value.strip())
        except ValueError:
            raise UsageError(
                f"{value!r} is no time: give Unix seconds or ISO 8601 (UTC if no zone)"
            ) from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return _in_range((since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000, value)


def _in_range(nanoseconds: int, value: object) -> int:
    if not -_LIMIT <= nanoseconds < _LIMIT:
        raise UsageError(f"{value}: too far from now for a packet")
    return nanoseconds
