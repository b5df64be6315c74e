from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mtc.inference import Classifier, HostSummary


@pytest.fixture(scope="module")
def captures(tiny_model: Path, short_capture: Path) -> tuple:
    return Classifier.load(tiny_model).classify(short_capture, short_capture).captures


def test_a_flow_counts_for_both_of_its_ends(captures: tuple) -> None:
    hosts = HostSummary(captures[0].tasks)
    for capture in captures:
        hosts.add(capture, capture)
    rows = {row["host"]: row for row in hosts}
    flows = [row for capture in captures for row in capture]
    assert len(hosts) == len(rows) == len({row[end] for row in flows for end in ("src", "dst")})
    totals: dict[str, int] = defaultdict(int)
    labels: dict[str, Counter] = defaultdict(Counter)
    for row in flows:
        for end in {row["src"], row["dst"]}:
            totals[end] += row["bytes"]
            labels[end][row["traffic"]["label"] if row["traffic"] else "no sample"] += row["bytes"]
    for name, row in rows.items():
        assert row["bytes_sent"] + row["bytes_received"] == totals[name]
        assert row["traffic"]["bytes"] == labels[name]
        assert sum(row["traffic"]["flows"].values()) == row["flows"]
        top = max(labels[name].values())
        assert labels[name][row["traffic"]["label"]] == top
        assert row["traffic"]["share"] == pytest.approx(top / totals[name], abs=1e-6)
        assert sum(row["vpn"]["flows"].values()) == row["flows"]
        assert row["start"] <= row["end"]
    assert sum(row["flows_begun"] for row in rows.values()) == len(flows)
    ordered = [row["bytes_sent"] + row["bytes_received"] for row in hosts]
    assert ordered == sorted(ordered, reverse=True)


def test_no_flows_no_hosts(captures: tuple) -> None:
    assert list(HostSummary(captures[0].tasks)) == []
