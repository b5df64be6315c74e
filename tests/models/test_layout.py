"""Plans: which rows and entries stand for a zero-padded sample."""

from dataclasses import replace

import numpy as np
import pytest

from mtc.models.packed.plan import DataFlow, plan_for

FUSED = ("conv", "down", "up", "conv")
MTC_FLOW = DataFlow(30, 50, ("conv", *FUSED, *FUSED))


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("live", range(31))
def test_rows_and_entries_stand_for_every_position_and_token(live, copies):
    plan = plan_for(replace(MTC_FLOW, copies=copies), live)
    assert plan.multiplicity.sum() == 30
    assert (np.bincount(plan.slot, minlength=len(plan.multiplicity)) == plan.multiplicity).all()
    assert (plan.weight * plan.multiplicity[plan.entry]).sum() == 1500
    assert (np.bincount(plan.entry, plan.weight) == 50).all()
    assert (np.diff(plan.position) > 0).all()
    assert (np.diff(plan.entry) >= 0).all()
    # Every position that holds a byte is a row of its own.
    assert (plan.position[: live * 50] == np.arange(live * 50)).all()
    assert (plan.weight[: live * 50] == 1).all()


def test_work_grows_with_the_bytes():
    rows = [len(plan_for(MTC_FLOW, live).position) for live in range(31)]
    # 5 (packet's end, five convolutions) + the steps of two fusions + 5 (sequence's end) ...
    assert rows[4] == 4 * 50 + 33
    assert rows[0] == 33
    assert rows[30] == 1500
    assert len(plan_for(MTC_FLOW, 4).multiplicity) == 11


def test_dense_plan_merges_nothing():
    plan = plan_for(DataFlow(30, 50, MTC_FLOW.steps, copies=2**31), 3)
    assert len(plan.position) == 1500
    assert len(plan.multiplicity) == 30
    assert (plan.weight == 1).all()


def test_copies_share_what_is_equal_evenly():
    one, four = (plan_for(replace(MTC_FLOW, copies=copies), 4) for copies in (1, 4))
    # Of the 20 tokens that are equal each copy stands for 5, of equal positions for a quarter.
    assert sorted(one.multiplicity)[-1] == 20
    assert sorted(four.multiplicity)[-5:] == [1, 5, 5, 5, 5]
    assert one.weight.max() == 50
    assert 12 <= four.weight.max() <= 13
    assert len(four.position) == 4 * 50 + 66


def test_without_fusion_nothing_travels_between_tokens():
    with_fusion = plan_for(MTC_FLOW, 4)
    without = plan_for(DataFlow(30, 50, ("conv",) * 5), 4)
    assert len(without.position) < len(with_fusion.position)
    assert (without.weight * without.multiplicity[without.entry]).sum() == 1500
