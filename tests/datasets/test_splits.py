"""Splits: their shares, what they never share, and what they depend on."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtc.datasets import FRACTIONS, PARTS, SPLITS, measure_leakage, split_by_flow, split_by_packet
from mtc.datasets.draws import keyed_draws
from mtc.datasets.splits import SplitRows


def rows_of(flows: list[tuple[int, int]]) -> SplitRows:
    """Rows of flows given as (stratum, packets)."""
    strata = np.concatenate([np.full(size, stratum, np.int64) for stratum, size in flows])
    flow = np.repeat(np.arange(len(flows), dtype=np.int32), [size for _, size in flows])
    return SplitRows(flow=flow, draws=keyed_draws(0, "rows", np.arange(len(flow))), strata=strata)


flow_lists = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 40)), min_size=1, max_size=60)


@given(flow_lists, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_flow_straddles_and_strata_reach_parts(flows: list[tuple[int, int]], seed: int) -> None:
    rows = rows_of(flows)
    parts = split_by_flow(rows, seed)
    for flow in range(len(flows)):
        assert len(set(parts[rows.flow == flow].tolist())) == 1
    by_stratum = defaultdict(list)
    for flow, (stratum, _) in enumerate(flows):
        by_stratum[stratum].append(flow)
    for stratum, members in by_stratum.items():
        reached = {PARTS[part] for part in parts[rows.strata == stratum]}
        wanted = {1: {"train"}, 2: {"train", "test"}}.get(len(members), set(PARTS))
        assert reached == wanted


@given(st.lists(st.integers(0, 3), min_size=1, max_size=300), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_packet_split_gives_every_stratum_its_shares(strata: list[int], seed: int) -> None:
    n = len(strata)
    rows = SplitRows(np.zeros(n, np.int32), keyed_draws(0, "rows", np.arange(n)), np.array(strata, np.int64))
    parts = split_by_packet(rows, seed)
    for stratum in set(strata):
        inside = parts[rows.strata == stratum]
        for part, share in enumerate(FRACTIONS):
            assert abs(np.count_nonzero(inside == part) - share * len(inside)) <= 1


def test_flow_split_meets_the_shares_where_flows_are_many() -> None:
    sizes = np.random.default_rng(3).geometric(0.1, size=3_000)
    rows = rows_of([(i % 3, int(size)) for i, size in enumerate(sizes)])
    parts = split_by_flow(rows, 1)
    for stratum in range(3):
        shares = np.bincount(parts[rows.strata == stratum], minlength=3) / np.sum(rows.strata == stratum)
        assert shares == pytest.approx(FRACTIONS, abs=0.005)
    flows = np.bincount(parts[np.unique(rows.flow, return_index=True)[1]]) / len(sizes)
    assert flows == pytest.approx(FRACTIONS, abs=0.03)  # large flows are not all on one side


def test_flow_of_several_strata_stays_whole() -> None:
    rows = rows_of([(0, 5)] * 10 + [(1, 5)] * 10)
    joined = SplitRows(np.where(rows.flow >= 10, rows.flow - 10, rows.flow), rows.draws, rows.strata)
    parts = split_by_flow(joined, 1)
    assert all(len(set(parts[joined.flow == flow].tolist())) == 1 for flow in range(10))
    assert {PARTS[part] for part in parts} == set(PARTS)


@pytest.mark.parametrize("name", list(SPLITS))
def test_a_split_depends_on_the_seed_and_not_on_the_place_of_rows(name: str) -> None:
    rows = rows_of([(i % 2, i % 7 + 1) for i in range(200)])
    split = SPLITS[name].assign
    order = np.random.default_rng(0).permutation(len(rows.flow))
    moved = SplitRows(rows.flow[order], rows.draws[order], rows.strata[order])
    assert np.array_equal(split(rows, 1)[order], split(moved, 1))
    assert not np.array_equal(split(rows, 1), split(rows, 2))


@pytest.mark.parametrize("name", list(SPLITS))
def test_nothing_to_split(name: str) -> None:
    empty = SplitRows(np.empty(0, np.int32), np.empty(0, np.uint64), np.empty(0, np.int64))
    assert len(SPLITS[name].assign(empty, 1)) == 0


def test_leakage_counts_what_parts_share() -> None:
    def column(values: list[int], dtype: type) -> NDArray[np.generic]:
        return np.array(values, dtype)

    leaks = measure_leakage(
        parts=column([0, 0, 1, 2, 2, 2], np.uint8),
        flow=column([0, 1, 1, 1, 2, 3], np.int32),
        capture=column([0, 0, 0, 0, 1, 1], np.int32),
        digests=column([7, 8, 9, 7, 7, 5], np.uint64),
    )
    assert leaks.shared_flows == 1
    assert leaks.shared_captures == 1
    assert leaks.shared_samples == 1
    assert leaks.test_rows_of_trained_flows == 1
    assert leaks.test_rows_equal_to_trained == 2


def test_draws_are_uniform_and_independent_of_each_other() -> None:
    keys = np.arange(20_000)
    one = keyed_draws(1, "a", keys) / 2.0**64
    for other in (keyed_draws(1, "b", keys), keyed_draws(2, "a", keys)):
        assert abs(np.corrcoef(one, other / 2.0**64)[0, 1]) < 0.03
    assert np.histogram(one, 10, (0, 1))[0] == pytest.approx(np.full(10, 2_000), rel=0.1)
    assert len(np.unique(keyed_draws(1, "a", keys))) == len(keys)
    assert np.array_equal(keyed_draws(1, "a", keys[5:7]), keyed_draws(1, "a", keys)[5:7])
