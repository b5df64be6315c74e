"""Flow records: one row a biflow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Self

import communityid
import numpy as np
from numpy.typing import NDArray

from mtc.flows.evidence import FlowEvidence
from mtc.packets.transport import TCP
from mtc.rows import Seconds


def format_address(ip_version: int, halves: NDArray[np.uint64]) -> str:
    """Text form of an address.

    Args:
        ip_version: 4 or 6.
        halves: uint64 (2,), big-endian halves; IPv4 in the low 32 bits of the second.
    """
    high, low = int(halves[0]), int(halves[1])
    return str(IPv4Address(low) if ip_version == 4 else IPv6Address(high << 64 | low))


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
        """``tcp`` or ``udp``."""
        return "tcp" if self.protocol[row] == TCP else "udp"

    def address(self, side: str, row: int) -> str:
        """Address of a row as text; ``side`` is ``src`` or ``dst``."""
        halves: NDArray[np.uint64] = self.src if side == "src" else self.dst
        return format_address(int(self.ip_version[row]), halves[row])

    def community_id(self, row: int) -> str:
        """Community id (version 1, seed 0) of a row, which other tools know the flow by."""
        make = communityid.FlowTuple.make_tcp if self.protocol[row] == TCP else communityid.FlowTuple.make_udp
        addresses = self.address("src", row), self.address("dst", row)
        flow = make(*addresses, int(self.src_port[row]), int(self.dst_port[row]))
        return str(communityid.CommunityID().calc(flow))

    def row(self, row: int) -> dict[str, Any]:
        """One flow as plain values: fields and units as in ``mtc classify --format json``."""
        return {
            "flow": int(self.flow[row]) + 1,
            "protocol": self.protocol_name(row),
            "src": self.address("src", row),
            "src_port": int(self.src_port[row]),
            "dst": self.address("dst", row),
            "dst_port": int(self.dst_port[row]),
            "start": Seconds(int(self.start[row])),
            "end": Seconds(int(self.end[row])),
            "packets": int(self.packets_forward[row] + self.packets_back[row]),
            "bytes": int(self.bytes_forward[row] + self.bytes_back[row]),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """All flows as plain values, one after the other."""
        return (self.row(row) for row in range(len(self)))


_COLUMNS = tuple(field.name for field in fields(FlowRecords) if field.name != "evidence")
