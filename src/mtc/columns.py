"""Names and types of the columns of every output: the only place that lists them.

Types are those of Arrow; ``time`` is a UTC timestamp in nanoseconds, ``strings`` a list of texts, and a
column ``a.b`` is the field ``b`` of ``a``. Tasks stand behind the columns of a flow record, and then what
is derived of the tasks.
"""

from collections.abc import Mapping
from types import MappingProxyType

Columns = Mapping[str, str]

_INITIATOR = {
    "protocol": "string",
    "src": "string",
    "src_port": "uint16",
    "dst": "string",
    "dst_port": "uint16",
    "start": "time",
    "end": "time",
    "packets": "int64",
    "bytes": "int64",
}
_SOURCE = {"samples": "int64", "community_id": "string", "capture": "string"}
EVIDENCE: Columns = MappingProxyType(
    {
        "app_proto": "string",
        "app_proto_by": "string",
        "server_name": "string",
        "server_name_by": "string",
        "alpn": "strings",
        "ja4": "string",
        "service.application": "string",
        "service.type": "string",
        "service.by": "string",
    }
)
"""What a flow says of itself."""

FLOW: Columns = MappingProxyType({"flow": "int64", **_INITIATOR, **_SOURCE, **EVIDENCE})
"""A flow record, of ``mtc flows`` and before the tasks of ``mtc classify``."""

FLOW_COUNTS: Columns = MappingProxyType(
    dict.fromkeys(("packets_forward", "packets_back", "bytes_forward", "bytes_back", "host_pair"), "int64")
)
"""What ``mtc flows`` adds to a flow record."""

PACKET: Columns = MappingProxyType({"flow": "int64", "packet": "int64", **_INITIATOR, **_SOURCE})
"""A packet of ``mtc classify --per packet``."""

ROW: Columns = MappingProxyType({"capture": "string", "row": "int64"})
"""A row of a table of flow features."""

VERDICT: Columns = MappingProxyType(
    {
        "verdict.application": "string",
        "verdict.type": "string",
        "verdict.by": "string",
        "verdict.confidence": "float64",
    }
)
"""The answer about a flow, behind the tasks."""

GROUP: Columns = MappingProxyType(
    {
        "flows": "int64",
        "packets": "int64",
        "bytes": "int64",
        "start": "time",
        "end": "time",
    }
)
"""What ``mtc classify --by service`` and ``--by type`` say of a group of flows, behind its name."""

HOST: Columns = MappingProxyType(
    {
        "host": "string",
        "names": "strings",
        "flows": "int64",
        "flows_begun": "int64",
        "packets": "int64",
        "bytes_sent": "int64",
        "bytes_received": "int64",
        "start": "time",
        "end": "time",
    }
)
"""A host of ``mtc classify --by host``."""

VPN, CONFLICT = "vpn", "conflict"
"""Columns derived from the tasks' verdicts."""

UNKNOWN = "unknown"
"""Label of a verdict that is less sure than its task's threshold."""

DATASET = ("sample", "time", "wirelen", "flow", "capture", "packet")
"""Columns of a dataset that are no tasks."""

RESERVED = frozenset(
    name.partition(".")[0] for name in (*FLOW, *PACKET, *ROW, *HOST, VPN, CONFLICT, *VERDICT, *DATASET)
)
"""Names that no task may have."""
