"""A second opinion on flows: nDPI's, as NFStream's wheels carry it (extra ``ndpi``)."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import numpy as np

from mtc.capture.sources import Source
from mtc.errors import CaptureError, UsageError
from mtc.extras import need
from mtc.flows.evidence import is_known
from mtc.flows.records import FlowRecords
from mtc.flows.services import Service, Services

_TYPES = {
    "Chat": "Chat",
    "Email": "Email",
    "DataTransfer": "File Transfer",
    "Download": "File Transfer",
    "FileSharing": "File Transfer",
    "Media": "Streaming",
    "Music": "Streaming",
    "Streaming": "Streaming",
    "Video": "Streaming",
    "VoIP": "VoIP",
    "Shopping": "Web",
    "Web": "Web",
    "RemoteAccess": "Remote Access",
    "Game": "Gaming",
    "SocialNetwork": "Social",
    "Collaborative": "Collaboration",
    "Productivity": "Collaboration",
    "SoftwareUpdate": "Software Update",
    "ADS_Analytic_Track": "Advertising",
    "Advertisement": "Advertising",
    "ConnCheck": "Network",
    "Cybersecurity": "Network",
    "Database": "Network",
    "Network": "Network",
    "RPC": "Network",
    "System": "Network",
    "VPN": "VPN",
    "IoT-Scada": "IoT",
    "Cloud": "Cloud",
}
"""nDPI's categories, and the type of ``mtc.flows.services.TYPES`` that each is nearest to."""

_DNS = frozenset(("DNS", "MDNS", "LLMNR"))
_SAYS_NOTHING = frozenset(("Unknown", "TLS", "DTLS", "QUIC"))
"""Names without an application that leave open what the flow is for."""

FlowKey = tuple[int, tuple[str, int], tuple[str, int]]


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What nDPI says of one flow, and when that was; times in ns since the epoch."""

    start: int
    end: int
    service: Service


class NdpiOpinions:
    """nDPI's opinions on the flows of a capture, found by five-tuple and time.

    NFStream ends a flow after 120 s of silence or 30 minutes, so one five-tuple may have several.
    """

    def __init__(self, opinions: Iterable[tuple[FlowKey, int, int, Service]] = ()) -> None:
        self._by_flow: dict[FlowKey, list[_Opinion]] = {}
        for key, start, end, service in opinions:
            self._by_flow.setdefault(key, []).append(_Opinion(start, end, service))

    @classmethod
    def read(cls, capture: Path, services: Services | None = None) -> Self:
        """Let nDPI read a capture file.

        Args:
            capture: pcap or pcapng, not compressed.
            services: types by protocol, which come before those of nDPI's categories; without it the table
                of the package.

        Raises:
            UsageError: NFStream is not installed.
            CaptureError: NFStream cannot read the file.
        """
        nfstream = need("nfstream")
        services = Services.load() if services is None else services
        opinions = []
        try:
            for flow in nfstream.NFStreamer(source=str(capture), n_meters=1):
                service = service_of(flow.application_name, flow.application_category_name, services)
                if service is not None and not flow.application_is_guessed:
                    key = flow_key(flow.protocol, flow.src_ip, flow.src_port, flow.dst_ip, flow.dst_port)
                    start, end = flow.bidirectional_first_seen_ms, flow.bidirectional_last_seen_ms
                    opinions.append((key, start * 1_000_000, (end + 1) * 1_000_000, service))
        except (ValueError, OSError) as error:
            raise CaptureError(f"{capture}: nDPI cannot read it: {error}") from error
        return cls(opinions)

    def service(self, key: FlowKey, start: int, end: int) -> Service | None:
        """The opinion on a flow; of several that overlap it in time, the one that does so longest.

        Args:
            key: from ``flow_key``.
            start: time of the first packet, ns since the epoch.
            end: time of the last packet.
        """
        overlaps = (
            (min(end, opinion.end) - max(start, opinion.start), opinion.service)
            for opinion in self._by_flow.get(key, ())
        )
        return max((pair for pair in overlaps if pair[0] >= 0), key=lambda pair: pair[0], default=(0, None))[
            1
        ]


def add_opinions(flows: FlowRecords, source: Source, services: Services | None = None) -> None:
    """Give flows that say nothing of their service the one that nDPI sees, with ``by`` ``ndpi``.

    Args:
        flows: records with evidence, of one capture; their services are changed in place.
        source: where the capture lies.
        services: see ``NdpiOpinions.read``.

    Raises:
        UsageError: NFStream is not installed, or the capture is not a plain file, which is all it reads.
        CaptureError: NFStream cannot read the file.
    """
    if source.path is None or source.member is not None:
        raise UsageError(f"{source.name}: nDPI reads plain pcap and pcapng files only")
    if flows.evidence is None:
        return
    silent = np.flatnonzero(~is_known(flows.evidence.service)).tolist()
    opinions = NdpiOpinions.read(source.path, services) if silent else NdpiOpinions()
    for at in silent:
        src, dst = (flows.address(side, at) for side in ("src", "dst"))
        key = flow_key(int(flows.protocol[at]), src, int(flows.src_port[at]), dst, int(flows.dst_port[at]))
        found = opinions.service(key, int(flows.start[at]), int(flows.end[at]))
        if found is not None:
            said = {"application": found.application, "type": found.type, "by": "ndpi"}
            flows.evidence.service[at] = said


def flow_key(protocol: int, src: str, src_port: int, dst: str, dst_port: int) -> FlowKey:
    """The five-tuple of both directions of a flow."""
    with suppress(ValueError):
        src, dst = str(ip_address(src)), str(ip_address(dst))
    one, other = sorted(((src, src_port), (dst, dst_port)))
    return protocol, one, other


def service_of(application: str, category: str, services: Services) -> Service | None:
    """nDPI's answer in the words of this package.

    Args:
        application: such as ``TLS.YouTube`` (protocol and application) or ``SSH``.
        category: such as ``Media``.
        services: the table that gives a protocol its type.
    """
    protocol, _, name = application.partition(".")
    if not name and protocol in _SAYS_NOTHING:
        return None
    if protocol in _DNS:
        return Service(None, "DNS", None)
    known = services.of_protocol((name or protocol).lower())
    kind = known.type if known is not None else _TYPES.get(category)
    if kind is None:
        return None
    return Service(name or (known.application if known is not None else None), kind, None)
