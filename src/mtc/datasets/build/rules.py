"""Labels of captures, or of parts of them: by five-tuple, network and time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Network, ip_network

import numpy as np
from numpy.typing import NDArray

from mtc.packets.headers import Headers

FILTER_COLUMNS = ("protocol", "src", "src_port", "dst", "dst_port", "start", "end")
"""What may choose packets of a capture; ``src`` and ``dst`` may be each other."""

NO_LABEL = "no_label"
"""Reason why samples are left out that no rule labels."""

_PROTOCOLS = {"tcp": 6, "udp": 17}
_HALF = (1 << 64) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Ports = tuple[tuple[int, int], ...]
Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class PacketFilter:
    """Chooses packets; what is empty or None chooses all. Either direction of a flow matches."""

    protocol: int | None = None
    src: Networks = ()
    src_port: Ports = ()
    dst: Networks = ()
    dst_port: Ports = ()
    start: int | None = None
    """Nanoseconds since the Unix epoch, the first that counts."""
    end: int | None = None
    """The first that does not count any more."""
    flows: "FlowWindows | None" = None
    """Many flows, each with a window of time; given instead of the others."""

    @property
    def names_a_flow(self) -> bool:
        """Whether it chooses one five-tuple."""
        addresses = [*self.src, *self.dst]
        return (
            self.protocol is not None
            and len(self.src) == len(self.dst) == len(self.src_port) == len(self.dst_port) == 1
            and all(network.prefixlen == network.max_prefixlen for network in addresses)
            and all(first == last for first, last in (*self.src_port, *self.dst_port))
        )

    @classmethod
    def parse(cls, cells: Mapping[str, str]) -> "PacketFilter":
        """Read the cells of ``FILTER_COLUMNS``; several values in one are parted by blanks.

        Raises:
            ValueError: A cell cannot be read; the message names it.
        """
        readers: dict[str, Callable[[str], object]] = {
            "protocol": _protocol,
            "src": _networks,
            "dst": _networks,
            "src_port": _ports,
            "dst_port": _ports,
            "start": _time_ns,
            "end": _time_ns,
        }
        values = {}
        for column, text in cells.items():
            try:
                values[column] = readers[column](text)
            except (ValueError, ArithmeticError) as error:
                raise ValueError(f"{column} {text!r} cannot be read") from error
        return cls(**values)  # type: ignore[arg-type]

    def matches(self, headers: Headers, timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool (N,), which packets of a batch are chosen; ``timestamps`` is int64 (N,)."""
        if self.flows is not None:
            return self.flows.match(headers, timestamps)
        chosen = np.ones(len(headers), np.bool_)
        if self.start is not None:
            chosen &= timestamps >= self.start
        if self.end is not None:
            chosen &= timestamps < self.end
        if self.protocol is not None:
            chosen &= headers.protocol == self.protocol
        there, back = chosen, chosen.copy()
        ends = (headers.src, headers.src_port), (headers.dst, headers.dst_port)
        sides = (self.src, self.src_port), (self.dst, self.dst_port)
        for (networks, ports), one, other in zip(sides, ends, reversed(ends), strict=True):
            if networks:
                there &= _inside(networks, one[0], headers.ip_version)
                back &= _inside(networks, other[0], headers.ip_version)
            if ports:
                there &= _among(ports, one[1]) & headers.is_transport
                back &= _among(ports, other[1]) & headers.is_transport
        return there | back


@dataclass(frozen=True, eq=False)
class FlowWindows:
    """Flows by five-tuple, each in a window of time: thousands of them are matched at once.

    Attributes:
        keys: uint64 (F, 2), two hashes of each five-tuple, the same for both directions; ascending.
        start: int64 (F,), nanoseconds since the epoch, the first that counts.
        end: int64 (F,), the first that does not.
    """

    keys: NDArray[np.uint64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    @classmethod
    def of(cls, filters: "Sequence[PacketFilter]") -> "FlowWindows":
        """From filters that each name a flow."""
        ends = [
            [int(f.src[0].network_address), f.src_port[0][0], int(f.dst[0].network_address), f.dst_port[0][0]]
            for f in filters
        ]
        halves = [
            np.array([[value >> 64, value & _HALF] for value in column], np.uint64).reshape(-1, 2)
            for column in ([row[0] for row in ends], [row[2] for row in ends])
        ]
        ports = [np.array([row[i] for row in ends], np.uint64) for i in (1, 3)]
        kind = np.array([f.src[0].version << 8 | (f.protocol or 0) for f in filters], np.uint64)
        keys = _flow_hashes(kind, halves[0], ports[0], halves[1], ports[1])
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        start = np.array([-(1 << 62) if f.start is None else f.start for f in filters], np.int64)
        end = np.array([1 << 62 if f.end is None else f.end for f in filters], np.int64)
        return cls(keys[order], start[order], end[order])

    def match(self, headers: Headers, timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool (N,), which packets are of one of the flows, in its window."""
        kind = headers.ip_version.astype(np.uint64) << np.uint64(8) | headers.protocol
        ports = headers.src_port.astype(np.uint64), headers.dst_port.astype(np.uint64)
        keys = _flow_hashes(kind, headers.src, ports[0], headers.dst, ports[1])
        found = np.zeros(len(keys), np.bool_)
        at = np.searchsorted(self.keys[:, 0], keys[:, 0])
        waiting = np.flatnonzero(headers.is_transport & (at < len(self.keys)))
        while len(waiting):  # a five-tuple may have several windows
            here = at[waiting]
            same = self.keys[here, 0] == keys[waiting, 0]
            inside = (self.start[here] <= timestamps[waiting]) & (timestamps[waiting] < self.end[here])
            found[waiting] |= same & (self.keys[here, 1] == keys[waiting, 1]) & inside
            at[waiting] += 1
            waiting = waiting[same & ~found[waiting] & (at[waiting] < len(self.keys))]
        return found


def _flow_hashes(
    kind: NDArray[np.uint64],
    one: NDArray[np.uint64],
    one_port: NDArray[np.uint64],
    other: NDArray[np.uint64],
    other_port: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """uint64 (N, 2), of five-tuples; addresses are uint64 (N, 2)."""
    columns = []
    for seed in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F):
        both = np.zeros(len(kind), np.uint64)
        for address, port in ((one, one_port), (other, other_port)):
            mixed = _mixed(address[:, 0] ^ np.uint64(seed))
            both += _mixed(_mixed(mixed ^ address[:, 1]) ^ port)  # a sum: the same for both directions
        columns.append(_mixed(both ^ kind))
    return np.stack(columns, axis=1)


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finalizer of splitmix64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Rule:
    """Labels of a capture, or of the packets in it that a filter chooses."""

    labels: Mapping[str, str | None]
    """Task -> label; where all are None, what the filter chooses is left out."""
    vpn: bool | None = None
    filter: PacketFilter | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    """The filter as it was given."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Column -> value, of columns that are no task: what splits by group keep together."""


def first_match(rules: Sequence[Rule], headers: Headers, timestamps: NDArray[np.int64]) -> NDArray[np.int16]:
    """int16 (N,), the first rule that chooses each packet; -1 where none does or it has no label."""
    found = np.full(len(headers), -1, np.int16)
    free = np.ones(len(headers), np.bool_)
    for i, rule in enumerate(rules):
        chosen = free if rule.filter is None else free & rule.filter.matches(headers, timestamps)
        found[chosen] = i if any(rule.labels.values()) else -1
        free = free & ~chosen
    return found


def _inside(networks: Networks, address: NDArray[np.uint64], version: NDArray[np.uint8]) -> NDArray[np.bool_]:
    inside = np.zeros(len(address), np.bool_)
    for network in networks:
        base, mask = int(network.network_address), int(network.netmask)
        high = (address[:, 0] & np.uint64(mask >> 64)) == np.uint64(base >> 64)
        low = (address[:, 1] & np.uint64(mask & _HALF)) == np.uint64(base & _HALF)
        inside |= (version == network.version) & high & low
    return inside


def _among(ports: Ports, port: NDArray[np.uint16]) -> NDArray[np.bool_]:
    among = np.zeros(len(port), np.bool_)
    for first, last in ports:
        among |= (port >= first) & (port <= last)
    return among


def _protocol(text: str) -> int:
    try:
        return _PROTOCOLS[text.lower()]
    except KeyError as error:
        raise ValueError(text) from error


def _networks(text: str) -> Networks:
    return tuple(ip_network(part, strict=False) for part in text.split())


def _ports(text: str) -> Ports:
    ports = []
    for part in text.split():
        first, _, last = part.partition("-")
        ports.append((int(first), int(last or first)))
        if not 0 <= ports[-1][0] <= ports[-1][1] <= 0xFFFF:
            raise ValueError(part)
    return tuple(ports)


def _time_ns(text: str) -> int:
    """Unix seconds, or a date and time by ISO 8601, in UTC where it names no zone."""
    try:
        ns = int(Decimal(text) * 10**9)
    except InvalidOperation:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
        ns = (time - _EPOCH) // timedelta(microseconds=1) * 1_000
    if abs(ns) >= 1 << 63:
        raise ValueError(text)
    return ns
