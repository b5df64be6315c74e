"""Splits: their shares, what they never share, and what they depend on."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtc.datasets import FRACTIONS, PARTS, SPLITS, measure_leakage
from mtc.datasets.ragged import keyed_draws
from mtc.datasets.splits.rows import AllRows, SplitRows
from mtc.datasets.splits.splits import cut_of_folds, cut_of_parts, parts_of_fold

TRAIN, VALIDATION, TEST = range(3)


def rows_of(flows: list[tuple[int, int]], captures: int = 6) -> SplitRows:
    """Rows of flows given as (stratum, packets), dealt to captures in turn, one second a row."""
    flow = np.repeat(np.arange(len(flows), dtype=np.int32), [size for _, size in flows])
    labels = np.array([stratum for stratum, _ in flows], np.int64)[flow]
    return SplitRows.of_columns(
        flow=flow,
        capture=flow % np.int32(captures),
        time=np.arange(len(flow)) * 10**9,
        draws=keyed_draws(0, "rows", np.arange(len(flow))),
        labels={"task": labels},
    )


def assign_parts(name: str, rows: SplitRows, seed: int) -> NDArray[np.uint8]:
    """Index into ``PARTS`` of each row."""
    return SPLITS[name].assign(AllRows(rows.kinds, lambda: [rows]), cut_of_parts(name, seed))(rows)


def assign_folds(name: str, rows: SplitRows, seed: int, folds: int) -> NDArray[np.uint8]:
    """Fold of each row from 1, or 0."""
    return SPLITS[name].assign(AllRows(rows.kinds, lambda: [rows]), cut_of_folds(name, seed, folds))(rows)


def label_of(rows: SplitRows) -> NDArray[np.int64]:
    """Label of each row."""
    return rows.kinds.labels["task"][rows.kind]


flow_lists = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 40)), min_size=1, max_size=60)


def spread(keys: NDArray[np.generic], parts: NDArray[np.uint8]) -> int:
    """How many keys have rows in more than one part."""
    return sum(len(np.unique(parts[keys == key])) > 1 for key in np.unique(keys))


@given(flow_lists, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_flow_straddles_and_strata_reach_parts(flows: list[tuple[int, int]], seed: int) -> None:
    rows = rows_of(flows)
    parts = assign_parts("flow", rows, seed)
    assert spread(rows.flow, parts) == 0
    by_stratum = defaultdict(list)
    for flow, (stratum, _) in enumerate(flows):
        by_stratum[stratum].append(flow)
    for stratum, members in by_stratum.items():
        reached = {PARTS[part] for part in parts[label_of(rows) == stratum]}
        wanted = {1: {"train"}, 2: {"train", "test"}}.get(len(members), set(PARTS))
        assert reached == wanted


@given(flow_lists, st.integers(0, 5), st.integers(3, 7), st.sampled_from(list(SPLITS)))
@settings(max_examples=80, deadline=None)
def test_folds_cover_every_row_once(flows: list[tuple[int, int]], seed: int, k: int, name: str) -> None:
    rows = rows_of(flows)
    folds = assign_folds(name, rows, seed, k)
    assert folds.max() <= k
    if name != "capture":
        assert folds.min() >= 1
    if name != "packet":
        assert spread(rows.flow, folds) == 0
    if name == "capture":
        assert spread(rows.capture, folds) == 0
    tested = np.stack([parts_of_fold(folds, fold, k) for fold in range(1, k + 1)])
    assert ((tested == TEST).sum(axis=0) == (folds > 0)).all()
    assert ((tested == VALIDATION).sum(axis=0) == (folds > 0)).all()


def test_folds_are_even_where_flows_are_many() -> None:
    rows = rows_of([(i % 3, i % 5 + 1) for i in range(600)], captures=60)
    for name in SPLITS:
        sizes = np.bincount(assign_folds(name, rows, 1, 5), minlength=6)
        assert sizes[0] == 0
        assert sizes[1:] == pytest.approx(np.full(5, len(rows) / 5), rel=0.1), name


@given(flow_lists, st.integers(1, 12), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_capture_split_keeps_captures_whole(flows: list[tuple[int, int]], captures: int, seed: int) -> None:
    rows = rows_of(flows, captures)
    parts = assign_parts("capture", rows, seed)
    assert spread(rows.capture, parts) == spread(rows.flow, parts) == 0
    for stratum in {stratum for stratum, _ in flows}:
        mine = label_of(rows) == stratum
        assert (parts[mine] == TRAIN).any()
        if len(np.unique(rows.capture[mine])) < 3:
            assert (parts[mine] == TRAIN).all()


def test_captures_that_share_a_flow_go_together() -> None:
    capture = np.repeat(np.arange(9, dtype=np.int32), 10)
    flow = np.arange(90, dtype=np.int32)
    flow[15], flow[25] = flow[5], flow[16]  # joins captures 0, 1 and 2
    rows = SplitRows.of_columns(
        flow, capture, np.arange(90), keyed_draws(0, "r", flow), {"task": np.zeros(90, np.int64)}
    )
    for seed in range(5):
        parts = assign_parts("capture", rows, seed)
        assert len(set(parts[capture <= 2].tolist())) == 1
        assert set(parts.tolist()) == {TRAIN, VALIDATION, TEST}
        assert spread(flow, parts) == 0


@given(flow_lists, st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_time_split_cuts_by_start_of_flow(
    flows: list[tuple[int, int]], captures: int, random: object
) -> None:
    rows = rows_of(flows, captures)
    random.shuffle(order := list(range(len(rows))))  # type: ignore[attr-defined]
    rows = replace(rows, time=np.array(order))
    parts = assign_parts("time", rows, 1)
    assert spread(rows.flow, parts) == 0
    for capture in range(captures):
        flows_here = np.unique(rows.flow[rows.capture == capture])
        starts = [(rows.time[rows.flow == flow].min(), flow) for flow in flows_here]
        in_order = [parts[rows.flow == flow][0] for _, flow in sorted(starts)]
        assert in_order == sorted(in_order)
        assert in_order[:1] in ([], [TRAIN])


def test_time_split_meets_the_shares_and_knows_one_start_a_flow() -> None:
    rows = rows_of([(0, 1 + i % 3) for i in range(3_000)], captures=3)
    shares = np.bincount(assign_parts("time", rows, 1)) / len(rows)
    assert shares == pytest.approx(FRACTIONS, abs=0.01)
    # A flow that goes on in another capture stays where it began.
    capture = np.array([0, 0, 1, 1], np.int32)
    flow = np.array([0, 1, 1, 2], np.int32)
    late = SplitRows.of_columns(
        flow, capture, np.arange(4), keyed_draws(0, "r", flow), {"task": np.zeros(4, np.int64)}
    )
    assert assign_parts("time", late, 1).tolist()[1:3] == [assign_parts("time", late, 1)[1]] * 2


@given(st.lists(st.integers(0, 3), min_size=1, max_size=300), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_packet_split_gives_every_stratum_its_shares(strata: list[int], seed: int) -> None:
    rows = rows_of([(stratum, 1) for stratum in strata])
    parts = assign_parts("packet", rows, seed)
    for stratum in set(strata):
        inside = parts[label_of(rows) == stratum]
        for part, share in enumerate(FRACTIONS):
            assert abs(np.count_nonzero(inside == part) - share * len(inside)) <= 1


def test_flow_split_meets_the_shares_where_flows_are_many() -> None:
    sizes = np.random.default_rng(3).geometric(0.1, size=3_000)
    rows = rows_of([(i % 3, int(size)) for i, size in enumerate(sizes)])
    parts = assign_parts("flow", rows, 1)
    strata = label_of(rows)
    for stratum in range(3):
        shares = np.bincount(parts[strata == stratum], minlength=3) / np.sum(strata == stratum)
        assert shares == pytest.approx(FRACTIONS, abs=0.005)
    flows = np.bincount(parts[np.unique(rows.flow, return_index=True)[1]]) / len(sizes)
    assert flows == pytest.approx(FRACTIONS, abs=0.03)  # large flows are not all on one side


def test_flow_of_several_strata_stays_whole() -> None:
    rows = rows_of([(0, 5)] * 10 + [(1, 5)] * 10)
    flow = np.where(rows.flow >= 10, rows.flow - 10, rows.flow)
    joined = replace(rows, flow=flow)
    parts = assign_parts("flow", joined, 1)
    assert spread(flow, parts) == 0
    assert {PARTS[part] for part in parts} == set(PARTS)


@pytest.mark.parametrize("name", list(SPLITS))
def test_a_split_depends_on_the_seed_and_not_on_the_place_of_rows(name: str) -> None:
    rows = rows_of([(i % 2, i % 7 + 1) for i in range(200)], captures=40)
    order = np.random.default_rng(0).permutation(len(rows))
    moved = rows.take(order)
    assert np.array_equal(assign_parts(name, rows, 1)[order], assign_parts(name, moved, 1))
    assert np.array_equal(assign_folds(name, rows, 1, 4)[order], assign_folds(name, moved, 1, 4))
    same = np.array_equal(assign_parts(name, rows, 1), assign_parts(name, rows, 2))
    assert same == (name == "time")


@pytest.mark.parametrize("name", list(SPLITS))
def test_nothing_to_split(name: str) -> None:
    empty = rows_of([(0, 1)]).take(np.empty(0, np.int64))
    assert len(assign_parts(name, empty, 1)) == 0
    assert len(assign_folds(name, empty, 1, 5)) == 0


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
