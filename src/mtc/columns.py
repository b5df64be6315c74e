"""Names and types of the columns of every output: the only place that lists them.

Types are those of Arrow. Tasks stand behind these columns, and then what is derived of the tasks.
"""

from collections.abc import Mapping
from types import MappingProxyType

_INITIATOR = {
    "protocol": "string",
    "src": "string",
    "src_port": "uint16",
    "dst": "string",
    "dst_port": "uint16",
    "start": "float64",
    "end": "float64",
    "packets": "int64",
    "bytes": "int64",
}
_SOURCE = {"samples": "int64", "community_id": "string", "capture": "string"}

FLOW: Mapping[str, str] = MappingProxyType({"flow": "int64", **_INITIATOR, **_SOURCE})
"""A flow of ``mtc classify``."""

PACKET: Mapping[str, str] = MappingProxyType({"flow": "int64", "packet": "int64", **_INITIATOR, **_SOURCE})
"""A packet of ``mtc classify --per packet``."""

ROW: Mapping[str, str] = MappingProxyType({"capture": "string", "row": "int64"})
"""A row of a table of flow features."""

HOST: Mapping[str, str] = MappingProxyType(
    {
        "host": "string",
        "flows": "int64",
        "flows_begun": "int64",
        "packets": "int64",
        "bytes_sent": "int64",
        "bytes_received": "int64",
        "start": "float64",
        "end": "float64",
    }
)
"""A host of ``mtc classify --by host``."""

FLOW_TABLE: Mapping[str, str] = MappingProxyType(
    {
        "capture": "string",
        "flow": "int64",
        **_INITIATOR,
        **dict.fromkeys(("packets_forward", "packets_back", "bytes_forward", "bytes_back"), "int64"),
        "host_pair": "int64",
        "community_id": "string",
    }
)
"""A flow of ``mtc inspect --flows``."""

VPN, CONFLICT = "vpn", "conflict"
"""Columns derived from the tasks' verdicts."""

UNKNOWN = "unknown"
"""Label of a verdict that is less sure than its task's threshold."""

DATASET = ("sample", "time", "wirelen", "flow", "capture", "packet")
"""Columns of a dataset that are no tasks."""

EVIDENCE = (
    *("app_proto", "app_proto_by", "server_name", "server_name_by"),
    *("alpn", "ja4", "service", "verdict"),
)
"""Further fields of flow records."""

RESERVED = frozenset({*FLOW, *PACKET, *ROW, *HOST, *EVIDENCE, VPN, CONFLICT, *DATASET})
"""Names that no task may have. The flow table has no tasks beside it."""
