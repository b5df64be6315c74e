from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mtc.inference import Classifier, HostGroups, VerdictGroups


@pytest.fixture(scope="module")
def captures(tiny_model: Path, short_capture: Path) -> tuple:
    return Classifier.load(tiny_model).classify(short_capture, short_capture).captures


def test_a_flow_counts_for_both_of_its_ends(captures: tuple) -> None:
    hosts = HostGroups(captures[0].tasks)
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
    assert list(HostGroups(captures[0].tasks)) == []


@pytest.mark.parametrize("by", ["service", "type"])
def test_groups_add_up_to_all_flows(captures: tuple, by: str) -> None:
    groups = VerdictGroups(by)
    for capture in captures:
        groups.add(capture, capture)
    rows, flows = list(groups), [row for capture in captures for row in capture]
    for name in ("packets", "bytes"):
        assert sum(row[name] for row in rows) == sum(row[name] for row in flows)
    assert sum(row["flows"] for row in rows) == len(flows)
    field = {"service": "application", "type": "type"}[by]
    expected = Counter(row["verdict"][field] or "unknown" for row in flows)
    found: Counter = Counter()
    for row in rows:
        found[row[by]] += row["flows"]
    assert found == expected
    assert [row["bytes"] for row in rows] == sorted((row["bytes"] for row in rows), reverse=True)
