"""Rows of features as columns of text and numbers: Flow ID, addresses and times as the tools write them."""

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
from mtc.flows.features.table import FeatureRows
from mtc.flows.texts import format_addresses
from mtc.packets.transport import ICMP, ICMPV6

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
    src, dst = format_addresses(rows.ip_version, rows.src), format_addresses(rows.ip_version, rows.dst)
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
    columns[COMMUNITY_ID] = _community_ids(rows)
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


def _community_ids(rows: FeatureRows) -> list[str | None]:
    """Community ids; of ICMP, which stands for its type and code instead of ports, by the library."""
    records = rows.records()
    kinds = [STATISTICS.index(name) for name in ("ICMP Type", "ICMP Code")]
    found: list[str | None] = records.columns()["community_id"]
    for i in np.flatnonzero(np.isin(rows.protocol, (ICMP, ICMPV6))).tolist():
        tuples = communityid.FlowTuple
        make = tuples.make_icmp if rows.protocol[i] == ICMP else tuples.make_icmp6
        kind, code = (int(value) for value in rows.values[i, kinds])
        flow = make(records.address("src", i), records.address("dst", i), kind, code)
        found[i] = str(communityid.CommunityID().calc(flow))
    return found
