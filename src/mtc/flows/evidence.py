"""What flows say of themselves: application protocol, names, fingerprint and service, as columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.flows.address_names import AddressNames
from mtc.flows.detection import NOTHING, Finding, announced_ports, detect
from mtc.flows.payloads import DECIDED, LOG_BYTES, PayloadLog
from mtc.flows.services import Services
from mtc.packets.headers import Headers
from mtc.packets.transport import TCP

MOST_ANNOUNCED = 10_000
"""Announced data connections of FTP that are remembered."""

Texts = NDArray[np.object_]


@dataclass(frozen=True)
class FlowEvidence:
    """What the flows of ``FlowRecords`` say, as columns of equal length; None where nothing is known.

    Attributes:
        app_proto: Application protocol, as Suricata spells it.
        app_proto_by: ``payload``, or ``port`` where the payload only does not contradict the port.
        server_name: Name of the server.
        server_name_by: ``tls_sni``, ``tls_outer_sni``, ``quic_sni``, ``http_host``, ``certificate`` or
            ``dns``.
        alpn: Lists of the protocols that the client offers.
        ja4: JA4 fingerprint of the client.
        service: ``{"application", "type", "by"}``.
    """

    app_proto: Texts
    app_proto_by: Texts
    server_name: Texts
    server_name_by: Texts
    alpn: Texts
    ja4: Texts
    service: Texts

    def __len__(self) -> int:
        return len(self.app_proto)

    @classmethod
    def empty(cls, rows: int) -> Self:
        """Nothing known of ``rows`` flows."""
        return cls(**{name: np.full(rows, None, np.object_) for name in EVIDENCE})

    def take(self, rows: NDArray[Any]) -> Self:
        """Only some rows, in the order asked for."""
        return type(self)(**{name: getattr(self, name)[rows] for name in EVIDENCE})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Several as one, behind each other."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in EVIDENCE})

    def columns(self) -> dict[str, list[Any]]:
        """All flows as columns of plain values."""
        return {name: getattr(self, name).tolist() for name in EVIDENCE}

    def row(self, row: int) -> dict[str, Any]:
        """One flow as plain values."""
        return {name: getattr(self, name)[row] for name in EVIDENCE}


@cache
def _built_in_services() -> Services:
    return Services.load()


def _hosts(flow: Any) -> frozenset[tuple[int, int]]:
    return frozenset((int(flow[f"{side}_high"]), int(flow[f"{side}_low"])) for side in ("src", "dst"))


def _is_ftp(flows: NDArray[Any]) -> NDArray[np.bool_]:
    """bool (N,), flows whose announcements have to be known before other flows are recognized."""
    control: NDArray[np.bool_] = (flows["src_port"] == 21) | (flows["dst_port"] == 21)
    control &= flows["protocol"] == TCP
    return control


def is_known(column: Texts) -> NDArray[np.bool_]:
    """bool (N,), where a column is not None."""
    known: NDArray[np.bool_] = column.astype(np.bool_)
    return known


EVIDENCE = tuple(field.name for field in fields(FlowEvidence))
"""Names of the columns."""


class EvidenceCollector:
    """Collects the first payloads of the flows of a table and recognizes what they are.

    A flow is recognized when its record is asked for, or when the payload log is full; from then on
    only the finding is kept.
    """

    def __init__(
        self, services: Services | None = None, *, names: bool = True, log_bytes: int = LOG_BYTES
    ) -> None:
        """Begin with no flows.

        Args:
            services: What names and protocols stand for; without it, the table of the package.
            names: Whether names of servers are read; without them, services are those of protocols.
            log_bytes: Most bytes of payload that are held at a time.
        """
        self._payloads = PayloadLog(log_bytes)
        self._addresses = AddressNames() if names else None
        self._findings: dict[int, Finding] = {}
        self._announced: set[tuple[frozenset[tuple[int, int]], int]] = set()
        self._services = _built_in_services() if services is None else services

    def collect(
        self,
        headers: Headers,
        batch: PacketBatch,
        rows: NDArray[np.int64],
        ways: NDArray[np.int8],
        flows: NDArray[Any],
    ) -> None:
        """Take in the packets of a batch, after their flows have been found; see ``PayloadLog.collect``."""
        if self._addresses is not None:
            self._addresses.learn(headers, batch)
        done = 0
        while (done := self._payloads.collect(headers, batch, rows, ways, flows, done)) < len(rows):
            self._make_room(flows)

    def move(self, kept: NDArray[np.bool_], size: int) -> None:
        """Follow the flow table, of which only some rows stay; see ``PayloadLog.move``."""
        self._payloads.move(kept, size)

    def _make_room(self, flows: NDArray[Any]) -> None:
        """Recognize all that is in the log; the newer half of what is undecided may go on."""
        self._recognize(flows)
        begun = self._payloads.counts(len(flows)) > 0
        undecided = np.flatnonzero(begun & (flows["silent"] != DECIDED))
        oldest = undecided[np.argsort(flows["start"][undecided], kind="stable")][: (len(undecided) + 1) // 2]
        flows["silent"][oldest] = DECIDED
        self._payloads.drop(flows["silent"])

    def _recognize(self, flows: NDArray[Any], rows: NDArray[np.int64] | None = None) -> None:
        for row, opening in self._payloads.openings(flows, rows):
            flow = flows[row]
            finding = detect(opening)
            if flow["silent"] or finding.final:
                flow["silent"] = DECIDED
            if finding is not NOTHING:
                self._findings[int(flow["flow"])] = finding
            if finding.app_proto == "ftp" and len(self._announced) < MOST_ANNOUNCED:
                self._announced.update((_hosts(flow), port) for port in announced_ports(opening))

    def evidence(self, flows: NDArray[Any], rows: NDArray[np.int64]) -> FlowEvidence:
        """What rows of the flow table say by now.

        Args:
            flows: The rows of the flow table, ascending by id.
            rows: int64, the rows asked for, ascending.
        """
        self._recognize(flows, np.union1d(rows, np.flatnonzero(_is_ftp(flows))))
        table = FlowEvidence.empty(len(rows))
        carries: Texts = np.full(len(rows), None, np.object_)
        ids = flows["flow"][rows]
        found = self._findings
        for at, flow in enumerate(ids.tolist()) if len(ids) < len(found) else self._positions(ids):
            finding = found.get(flow)
            if finding is not None:
                table.app_proto[at], table.app_proto_by[at] = finding.app_proto, finding.by
                carries[at] = finding.carries
                if self._addresses is not None:
                    table.server_name[at] = finding.names.server_name
                    table.server_name_by[at] = finding.names.server_name_by
                table.ja4[at] = finding.names.ja4
                table.alpn[at] = None if finding.names.alpn is None else list(finding.names.alpn)
        self._join_data_connections(flows[rows], table, carries)
        self._name_by_address(flows[rows], table)
        self._add_services(flows[rows], table, carries)
        return table

    def _positions(self, ids: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
        """Position and id of the flows asked for of which something is known."""
        known = np.fromiter(self._findings, np.int64, len(self._findings))
        known = known[np.isin(known, ids)]
        return zip(np.searchsorted(ids, known).tolist(), known.tolist(), strict=True)

    def forget(self, ids: NDArray[np.int64]) -> None:
        """Drop the findings of flows that are handed out."""
        known = self._findings
        for flow in ids.tolist() if len(ids) < len(known) else known.keys() & set(ids.tolist()):
            known.pop(flow, None)

    def _join_data_connections(self, flows: NDArray[Any], table: FlowEvidence, carries: Texts) -> None:
        """Call a connection FTP's if a control connection of its two hosts has announced its port."""
        if not self._announced:
            return
        ports = np.array(sorted({port for _, port in self._announced}))
        known = is_known(table.app_proto) & (table.app_proto_by != "port")
        open_ports = np.isin(flows["src_port"], ports) | np.isin(flows["dst_port"], ports)
        for at in np.flatnonzero(open_ports & ~known & (flows["protocol"] == TCP)).tolist():
            hosts = _hosts(flows[at])
            if any((hosts, int(flows[at][side])) in self._announced for side in ("src_port", "dst_port")):
                table.app_proto[at], table.app_proto_by[at] = "ftp-data", "payload"
                carries[at] = "ftp-data"

    def _name_by_address(self, flows: NDArray[Any], table: FlowEvidence) -> None:
        """The name that a DNS answer gave to the server's address, where the flow itself has none."""
        if self._addresses is None:
            return
        nameless = np.flatnonzero(~is_known(table.server_name))
        for at, name in self._addresses.names(flows[nameless]):
            table.server_name[nameless[at]], table.server_name_by[nameless[at]] = name, "dns"

    def _add_services(self, flows: NDArray[Any], table: FlowEvidence, carries: Texts) -> None:
        ports = np.minimum(flows["src_port"], flows["dst_port"])
        for at in np.flatnonzero((table.app_proto == "tls") & ~is_known(carries)).tolist():
            carries[at] = f"tls/{ports[at]}"  # the port says what TLS hides: 993 is IMAP
        known: dict[tuple[str | None, str | None], dict[str, str | None] | None] = {}
        said = np.flatnonzero(is_known(table.server_name) | is_known(carries))
        for at in said.tolist():
            key = table.server_name[at], carries[at]
            if key not in known:
                known[key] = self._service(*key)
            table.service[at] = known[key]

    def _service(self, server_name: str | None, protocol: str | None) -> dict[str, str | None] | None:
        found, by = None, "server_name"
        if server_name is not None:
            found = self._services.lookup(server_name)
        if found is None and protocol is not None:
            found, by = self._services.of_protocol(protocol), "protocol"
        if found is None:
            return None
        return {"application": found.application, "type": found.type, "by": by}
