"""Rows of features as columns of text and numbers: Flow ID, addresses and times as the tools write them."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import communityid
import numpy as np

from mtc.flows.features.conventions import (
    CICFLOWMETER4,
    CICIDS2017,
    CORRECTED,
    IDENTITY,
    STATISTICS,
    Convention,
)
from mtc.flows.features.packets import ICMP, ICMPV6, SCTP
from mtc.flows.features.table import FeatureRows
from mtc.flows.texts import format_address
from mtc.packets.transport import TCP, UDP

Values = list[int] | list[float] | list[str] | list[str | None]

LABEL, COMMUNITY_ID, CAPTURE = "Label", "Community ID", "Capture"
"""Columns behind the statistics; the last two are ours."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REAL = (
    "Mean",
    "Std",
    "Variance",
    "/s",
    "Avg",
    "Average",
    "Ratio",
    "Length of",
    "Length M",
    "IAT",
    "Size Avg",
)
_WHOLE_IN_OLDER = ("Bulk", "Subflow")


def whole_columns(convention: Convention) -> frozenset[str]:
    """The statistics that a convention writes as whole numbers."""
    names = []
    for column, place in zip(convention.columns, convention.places, strict=True):
        name = STATISTICS[place]
        older = convention.code != CORRECTED
        if any(word in name for word in _WHOLE_IN_OLDER):
            whole = older
        else:
            whole = not any(word in name for word in _REAL) and not name.startswith(("Active", "Idle"))
        if whole:
            names.append(column)
    return frozenset(names)


def column_types(convention: Convention) -> dict[str, str]:
    """Every column of the output in its order, with its Arrow type."""
    whole = whole_columns(convention)
    identity = ("string", "string", "uint16", "string", "uint16", "uint8", "string")
    return {
        **dict(zip(IDENTITY, identity, strict=True)),
        **{name: "int64" if name in whole else "float64" for name in convention.columns},
        **dict.fromkeys((LABEL, COMMUNITY_ID, CAPTURE), "string"),
    }


def output_columns(rows: FeatureRows, convention: Convention, capture: str) -> dict[str, Values]:
    """The columns of the output, ``column_types``, as lists of plain values.

    Args:
        rows: Flows that have ended.
        convention: The one they were computed by.
        capture: Name of their capture.
    """
    versions = rows.ip_version.tolist()
    src = [format_address(version, halves) for version, halves in zip(versions, rows.src, strict=True)]
    dst = [format_address(version, halves) for version, halves in zip(versions, rows.dst, strict=True)]
    src_port, dst_port = rows.src_port.tolist(), rows.dst_port.tolist()
    protocol = rows.protocol.tolist()
    swapped = _signed_greater(rows) if convention.code == CICIDS2017 else rows.reversed_id
    flow_id = [
        f"{d}-{s}-{dp}-{sp}-{p}" if swap else f"{s}-{d}-{sp}-{dp}-{p}"
        for s, d, sp, dp, p, swap in zip(
            src, dst, src_port, dst_port, protocol, swapped.tolist(), strict=True
        )
    ]
    times = [timestamp_text(time, convention) for time in (rows.start // 1000).tolist()]
    columns: dict[str, Values] = dict(
        zip(IDENTITY, (flow_id, src, src_port, dst, dst_port, protocol, times), strict=True)
    )
    whole = whole_columns(convention)
    for name, place in zip(convention.columns, convention.places, strict=True):
        values = rows.values[:, place]
        columns[name] = values.astype(np.int64).tolist() if name in whole else values.tolist()
    columns[LABEL] = [convention.label] * len(rows)
    columns[COMMUNITY_ID] = _community_ids(rows, src, dst)
    columns[CAPTURE] = [capture] * len(rows)
    return columns


def timestamp_text(microseconds: int, convention: Convention) -> str:
    """The time of a flow's first packet in UTC: with a clock of twelve hours, or to the microsecond."""
    time = _EPOCH + timedelta(microseconds=microseconds)
    if convention.code == CICIDS2017:
        return time.strftime("%d/%m/%Y %I:%M:%S")
    if convention.code == CICFLOWMETER4:
        return time.strftime("%d/%m/%Y %I:%M:%S ") + ("AM" if time.hour < 12 else "PM")
    text = time.strftime("%Y-%m-%d %H:%M:%S")
    if time.microsecond % 1000:
        return f"{text}.{time.microsecond:06}"
    return f"{text}.{time.microsecond // 1000:03}" if time.microsecond else text


def _signed_greater(rows: FeatureRows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where the source is the greater address, bytes compared as signed numbers."""
    wide = np.where(rows.ip_version == 6, np.uint64(0x8080808080808080), np.uint64(0x80808080))
    flip = np.stack([np.where(rows.ip_version == 6, wide, np.uint64(0)), wide], axis=1)
    src, dst = rows.src ^ flip, rows.dst ^ flip
    greater: np.ndarray[tuple[int], np.dtype[np.bool_]] = (src[:, 0] > dst[:, 0]) | (
        (src[:, 0] == dst[:, 0]) & (src[:, 1] > dst[:, 1])
    )
    return greater


def _community_ids(rows: FeatureRows, src: list[str], dst: list[str]) -> list[str | None]:
    """Community ids (version 1, seed 0); None for protocols that a convention does not tell apart."""
    kinds = dict(
        zip(("code", "type"), (STATISTICS.index("ICMP Code"), STATISTICS.index("ICMP Type")), strict=True)
    )
    found: list[str | None] = []
    for i, protocol in enumerate(rows.protocol.tolist()):
        if protocol in (TCP, UDP, SCTP):
            found.append(_community_id(rows, i, protocol))
        elif protocol in (ICMP, ICMPV6):
            make = communityid.FlowTuple.make_icmp if protocol == ICMP else communityid.FlowTuple.make_icmp6
            kind, code = (int(rows.values[i, kinds[name]]) for name in ("type", "code"))
            found.append(str(communityid.CommunityID().calc(make(src[i], dst[i], kind, code))))
        else:
            found.append(None)
    return found


def _community_id(rows: FeatureRows, i: int, protocol: int) -> str:
    """Hashed here rather than by the library, which takes ten times as long."""
    size = 16 if rows.ip_version[i] == 6 else 4
    ends = sorted(
        (rows_side[i].astype(">u8").tobytes()[-size:], int(port[i]).to_bytes(2, "big"))
        for rows_side, port in ((rows.src, rows.src_port), (rows.dst, rows.dst_port))
    )
    (low, low_port), (high, high_port) = ends
    text = b"\0\0" + low + high + bytes((protocol, 0)) + low_port + high_port
    return "1:" + base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode()
