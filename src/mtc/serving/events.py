"""Events: what a watch writes, one JSON object each, by the schema in ``event.schema.json``."""

import json
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import communityid
import numpy as np
from numpy.typing import NDArray

from mtc.columns import CONFLICT, UNKNOWN, VPN
from mtc.flows import FlowRecords
from mtc.inference import Classifier
from mtc.inference.verdict_builder import Below, Probabilities, VerdictBuilder
from mtc.inference.verdicts import FlowVerdict
from mtc.packets.transport import TCP
from mtc.serving.watch_settings import WatchSettings

SCHEMA_VERSION = 1
_EPOCH = datetime(1970, 1, 1)
RUN_BITS, FLOW_BITS = 20, 33
"""A flow id is a random number of the run and the number of the flow: 53 bits, exact in a double."""

EVIDENCE_FIELDS = ("app_proto", "app_proto_by", "server_name", "server_name_by", "alpn", "ja4", "service")
"""What a flow says of itself, as in the rows of ``mtc classify``."""

Event = dict[str, Any]
"""One event; ``encode`` makes a line of it."""


@cache
def event_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of every event."""
    text = resources.files("mtc.serving").joinpath("event.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def encode(event: Event) -> str:
    """An event as one line of JSON, without the line's end."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


def iso_time(ns: int) -> str:
    """A time as the events write it: ISO 8601, UTC, with microseconds, or nanoseconds where there are any.

    Args:
        ns: Nanoseconds since the Unix epoch, of 64 bits: the years 1677 to 2262.
    """
    seconds, rest = divmod(ns, 1_000_000_000)
    second = (_EPOCH + timedelta(seconds=seconds)).isoformat("T", "seconds")
    digits = f"{rest:09d}".removesuffix("000")
    return f"{second}.{digits}+00:00"


def nanoseconds(text: str) -> int:
    """The inverse of ``iso_time``."""
    second, _, rest = text.removesuffix("+00:00").partition(".")
    since = datetime.fromisoformat(second) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int(rest.ljust(9, "0"))


@dataclass(frozen=True, slots=True)
class FlowState:
    """Content of the event of a flow beside its record.

    Attributes:
        state: ``early`` or ``end``.
        reason: What made the event, see the schema.
        samples: Samples seen.
        judged: Samples that the verdict is made of.
        verdicts: Task -> verdict or None, and further fields of the verdict.
        unlike: Whether the flow is unlike the model's training data.
        sampled: Whether the flow is classified at all.
        sampling_rate: Share of new flows that was classified when it began.
    """

    state: str
    reason: str
    samples: int
    judged: int
    verdicts: Mapping[str, Any]
    unlike: bool = False
    sampled: bool = True
    sampling_rate: float = 1.0


@dataclass
class EventMaker:
    """Makes events of one run.

    Attributes:
        model: Name and version of the model.
        interface: Interface or capture that is watched.
        host: Name of the sensor.
        pseudonym: What every address goes through before it is written, or None.
    """

    model: Mapping[str, str]
    interface: str
    host: str = field(default_factory=socket.gethostname)
    pseudonym: Callable[[str], str] | None = None
    run: int = field(default_factory=lambda: secrets.randbits(RUN_BITS))

    def flow_verdict(self, records: FlowRecords, row: int, state: FlowState, now: int) -> Event:
        """The event of one flow.

        Args:
            records: Flows.
            row: Which of them.
            state: What is known of it beside its record.
            now: Time of the verdict, ns.
        """
        src, dst = records.address("src", row), records.address("dst", row)
        if self.pseudonym is not None:
            src, dst = self.pseudonym(src), self.pseudonym(dst)
        ports = int(records.src_port[row]), int(records.dst_port[row])
        tcp = bool(records.protocol[row] == TCP)
        start, end = int(records.start[row]), int(records.end[row])
        verdicts = dict(state.verdicts)
        said = self._said(records, row)
        answered = {CONFLICT: None, **verdicts["tasks"], **verdicts, **said}
        verdict = FlowVerdict(verdicts["tasks"])(answered, unlike=state.unlike)
        return {
            "timestamp": iso_time(now),
            "event_type": "flow_verdict",
            "schema_version": SCHEMA_VERSION,
            "host": self.host,
            "in_iface": self.interface,
            "flow_id": self.flow_id(int(records.flow[row])),
            "community_id": community_id(src, dst, *ports, tcp=tcp),
            "src_ip": src,
            "src_port": ports[0],
            "dest_ip": dst,
            "dest_port": ports[1],
            "proto": "TCP" if tcp else "UDP",
            "flow": {
                "pkts_toserver": int(records.packets_forward[row]),
                "pkts_toclient": int(records.packets_back[row]),
                "bytes_toserver": int(records.bytes_forward[row]),
                "bytes_toclient": int(records.bytes_back[row]),
                "start": iso_time(start),
                "end": iso_time(end),
                "age": round((end - start) / 1e9, 9),
            },
            **said,
            **_eve_names(said),
            "verdict": verdict,
            "state": state.state,
            "reason": state.reason,
            "samples": state.samples,
            "samples_judged": state.judged,
            **verdicts,
            "model": dict(self.model),
            "sampled": state.sampled,
            "sampling_rate": round(state.sampling_rate, 6),
        }

    def _said(self, records: FlowRecords, row: int) -> dict[str, Any]:
        """What the flow says of itself; its server's name only where addresses are not pseudonyms."""
        if records.evidence is None:
            return dict.fromkeys(EVIDENCE_FIELDS)
        said = records.evidence.row(row)
        if self.pseudonym is not None:
            said |= {"server_name": None, "server_name_by": None}
        return said

    def stats(self, counts: Mapping[str, Any], now: int) -> Event:
        """The event with the counts of a run so far.

        Args:
            counts: All fields but those that every event has.
            now: Wall clock, ns.
        """
        return {
            "timestamp": iso_time(now),
            "event_type": "stats",
            "schema_version": SCHEMA_VERSION,
            "host": self.host,
            "in_iface": self.interface,
            **counts,
            "model": dict(self.model),
        }

    def flow_id(self, flow: int) -> int:
        """The id that a flow's events carry."""
        return self.run << FLOW_BITS | flow % (1 << FLOW_BITS)


def _eve_names(said: Mapping[str, Any]) -> dict[str, Any]:
    """Server name, ALPN and JA4 under the names that Suricata's EVE has for them."""
    protocol = said["app_proto"]
    if protocol not in ("tls", "quic"):
        return {}
    own = said["server_name_by"] in ("tls_sni", "tls_outer_sni", "quic_sni")
    fields = {"sni": said["server_name"] if own else None, "ja4": said["ja4"], "alpn": said["alpn"]}
    found = {name: value for name, value in fields.items() if value is not None}
    return {protocol: found} if found else {}


@lru_cache(1 << 16)
def community_id(src: str, dst: str, src_port: int, dst_port: int, *, tcp: bool) -> str:
    """Community ID (version 1, seed 0) of a flow, from the addresses as written."""
    make = communityid.FlowTuple.make_tcp if tcp else communityid.FlowTuple.make_udp
    return str(communityid.CommunityID().calc(make(src, dst, src_port, dst_port)))


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

    def unlike(self, below: Below, flows: int) -> NDArray[np.bool_]:
        """bool (flows,), whether flows are unlike the training data: a task is below its threshold."""
        found = np.zeros(flows, np.bool_)
        for low in below.values() if self._reject else ():
            found |= low
        return found

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
