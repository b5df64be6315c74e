"""Flow records: one row a biflow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mtc.flows.evidence import FlowEvidence
from mtc.flows.texts import community_ids, format_addresses, seconds
from mtc.packets.transport import ICMP, ICMPV6, IGMP, SCTP, TCP, UDP

PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", IGMP: "igmp", ICMPV6: "icmp6", SCTP: "sctp"}
"""Number of a protocol -> its name in a row. Flows other than of TCP and UDP have features only."""


@dataclass(frozen=True)
class FlowRecords:
    """Biflows as columns of equal length, ascending by id.

    Attributes:
        flow: int64, id, from 0 by first packet.
        ip_version: uint8, 4 or 6.
        protocol: uint8, 6 (TCP) or 17 (UDP).
        src: uint64 (N, 2), sender of the first packet, as in ``Headers``.
        src_port: uint16.
        dst: uint64 (N, 2).
        dst_port: uint16.
        start: int64, time of the earliest packet, ns since the epoch.
        end: int64, time of the latest packet.
        packets_forward: int64, packets from ``src`` to ``dst``.
        packets_back: int64, packets the other way.
        bytes_forward: int64, bytes on the wire from ``src`` to ``dst``.
        bytes_back: int64, the other way.
        capture: int64, index of the capture in which the flow began.
        evidence: What the flows say of themselves, or None where it was not collected.
    """

    flow: NDArray[np.int64]
    ip_version: NDArray[np.uint8]
    protocol: NDArray[np.uint8]
    src: NDArray[np.uint64]
    src_port: NDArray[np.uint16]
    dst: NDArray[np.uint64]
    dst_port: NDArray[np.uint16]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    packets_forward: NDArray[np.int64]
    packets_back: NDArray[np.int64]
    bytes_forward: NDArray[np.int64]
    bytes_back: NDArray[np.int64]
    capture: NDArray[np.int64]
    evidence: FlowEvidence | None = None
    _held: tuple[int, dict[str, list[Any]]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.flow)

    @property
    def packets(self) -> NDArray[np.int64]:
        """int64, packets both ways."""
        return self.packets_forward + self.packets_back

    @property
    def bytes(self) -> NDArray[np.int64]:
        """int64, bytes on the wire both ways."""
        return self.bytes_forward + self.bytes_back

    @cached_property
    def host_pair(self) -> NDArray[np.int64]:
        """int64, equal for flows between the same two addresses, numbered from 0 by first flow."""
        swap = (self.src[:, 0] > self.dst[:, 0]) | (
            (self.src[:, 0] == self.dst[:, 0]) & (self.src[:, 1] > self.dst[:, 1])
        )
        low = np.where(swap[:, None], self.dst, self.src)
        high = np.where(swap[:, None], self.src, self.dst)
        version = self.ip_version.astype(np.uint64)[:, None]
        keys = np.concatenate([low, high, version], axis=1)
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        pairs: NDArray[np.int64] = rank[inverse.ravel()]
        return pairs

    def take(self, rows: NDArray[Any]) -> Self:
        """Only some rows, in the order asked for."""
        return type(self)(
            **{name: getattr(self, name)[rows] for name in _COLUMNS},
            evidence=None if self.evidence is None else self.evidence.take(rows),
        )

    @classmethod
    def of_rows(cls, rows: NDArray[Any], evidence: FlowEvidence | None = None) -> Self:
        """From rows of a flow table (``flows.kernels.FLOW``), ascending by id; a copy."""
        columns = {name: rows[name].copy() for name in _COLUMNS if name not in ("src", "dst")}
        sides = {
            side: np.stack([rows[f"{side}_high"], rows[f"{side}_low"]], axis=1) for side in ("src", "dst")
        }
        return cls(**columns, **sides, evidence=evidence)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Several records as one, by id; with evidence where all of them have it."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        said = [part.evidence for part in parts if part.evidence is not None]
        evidence = FlowEvidence.joined(said) if len(said) == len(parts) else None
        return cls(**columns, evidence=evidence).take(np.argsort(columns["flow"], kind="stable"))

    def protocol_name(self, row: int) -> str:
        """One of ``PROTOCOLS``, or ``other``."""
        return PROTOCOLS.get(int(self.protocol[row]), "other")

    def address(self, side: str, row: int) -> str:
        """Address of a row as text; ``side`` is ``src`` or ``dst``."""
        return str(self._value(side, row))

    def community_id(self, row: int) -> str | None:
        """Community id (version 1, seed 0) of a row, by which other tools know it; None without ports."""
        found: str | None = self._value("community_id", row)
        return found

    def columns(self) -> dict[str, list[Any]]:
        """All flows as columns of plain values: fields and units as in ``mtc flows --format json``."""
        said = {} if self.evidence is None else self.evidence.columns()
        return {
            "flow": (self.flow + 1).tolist(),
            "protocol": [PROTOCOLS.get(number, "other") for number in self.protocol.tolist()],
            "src": format_addresses(self.ip_version, self.src),
            "src_port": self.src_port.tolist(),
            "dst": format_addresses(self.ip_version, self.dst),
            "dst_port": self.dst_port.tolist(),
            "start": seconds(self.start),
            "end": seconds(self.end),
            "packets": self.packets.tolist(),
            "bytes": self.bytes.tolist(),
            "community_id": community_ids(
                self.protocol, self.ip_version, self.src, self.dst, self.src_port, self.dst_port
            ),
            **said,
        }

    def row(self, row: int) -> dict[str, Any]:
        """One flow as plain values: fields and units as in ``mtc classify --format json``."""
        columns, at = self._part(row)
        return {name: columns[name][at] for name in _ROW}

    def rows(self) -> Iterator[dict[str, Any]]:
        """All flows as plain values, one after the other, with community id and evidence."""
        for part in self.parts():
            columns = part.columns()
            names = tuple(columns)
            for values in zip(*columns.values(), strict=True):
                yield dict(zip(names, values, strict=True))

    def parts(self) -> Iterator[Self]:
        """The same flows, some thousand at a time."""
        for begin in range(0, len(self), _PART):
            yield self.take(np.arange(begin, min(begin + _PART, len(self))))

    def _value(self, column: str, row: int) -> Any:
        columns, at = self._part(row)
        return columns[column][at]

    def _part(self, row: int) -> tuple[dict[str, list[Any]], int]:
        """The columns of the rows around one, and where it stands in them.

        Texts are made for many rows at once, and those of one part are held: who goes through the rows
        in order pays little for each, and the texts of a million flows are never in memory together.
        """
        number, at = divmod(row % len(self), _PART)
        if self._held is None or self._held[0] != number:
            begin = number * _PART
            part = self.take(np.arange(begin, min(begin + _PART, len(self))))
            object.__setattr__(self, "_held", (number, part.columns()))
        assert self._held is not None
        return self._held[1], at


_PART = 4096
"""Rows whose texts are made at once."""

_ROW = ("flow", "protocol", "src", "src_port", "dst", "dst_port", "start", "end", "packets", "bytes")
_COLUMNS = tuple(column.name for column in fields(FlowRecords) if column.name not in ("evidence", "_held"))
