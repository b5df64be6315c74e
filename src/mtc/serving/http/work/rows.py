"""Rows of verdicts, made smaller or without real addresses."""

from collections.abc import Callable
from typing import Any

import communityid

from mtc.tasks import Tasks

Rename = Callable[[str], str]

SHORT_FIELDS = (
    "flow",
    "capture",
    "protocol",
    "src",
    "src_port",
    "dst",
    "dst_port",
    "start",
    "end",
    "packets",
    "bytes",
    "samples",
    "conflict",
)


def compact(row: dict[str, Any], judged: Tasks) -> dict[str, Any]:
    """A row with label and confidence of each task, and without the other probabilities."""
    short = {name: row.get(name) for name in SHORT_FIELDS}
    for task in judged:
        found = row[task]
        short[task] = None if found is None else {key: found[key] for key in ("label", "confidence")}
    return short


def pseudonymous(row: dict[str, Any], rename: Rename) -> dict[str, Any]:
    """A row with pseudonyms for addresses, and the community id of the pseudonyms.

    The real one would give the addresses away: it can be computed for every address there is.
    """
    row = {**row, "src": rename(row["src"]), "dst": rename(row["dst"])}
    if row["community_id"] is None:
        return row
    tuples = communityid.FlowTuple
    make = {"tcp": tuples.make_tcp, "udp": tuples.make_udp, "sctp": tuples.make_sctp}[row["protocol"]]
    flow = make(row["src"], row["dst"], row["src_port"], row["dst_port"])
    row["community_id"] = str(communityid.CommunityID().calc(flow))
    return row
