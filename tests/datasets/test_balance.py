"""The balance: its quotas, and that it chooses the same packets however they are read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc.datasets.build.balance import EVERY, SmallestDraws, quotas


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 150))
def test_quotas(plain: int, vpn: int, cap: int) -> None:
    kept_plain, kept_vpn = quotas(plain, vpn, cap)
    assert 0 <= kept_plain <= plain
    assert 0 <= kept_vpn <= vpn
    assert kept_plain + kept_vpn == min(cap, plain + vpn)
    if min(plain, vpn) >= (cap + 1) // 2:
        assert abs(kept_plain - kept_vpn) <= 1
    elif plain + vpn >= cap:
        assert min(plain, vpn) in (kept_plain, kept_vpn)  # the short half is kept whole


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=40), max_size=12), st.integers(1, 30), st.data())
def test_smallest_draws_are_found_in_bounded_memory(
    pieces: list[list[int]], limit: int, data: st.DataObject
) -> None:
    smallest = SmallestDraws(limit)
    seen: list[int] = []
    promising: list[int] = []
    for piece in pieces:
        mask = smallest.offer(np.array(piece, np.uint64))
        seen += piece
        promising += [draw for draw, kept in zip(piece, mask, strict=True) if kept]
    seen.sort()
    assert set(seen[:limit]) <= set(promising)
    assert len(smallest._held) <= 2 * limit + 40
    assert smallest.threshold(len(seen)) == EVERY
    if seen:
        keep = data.draw(st.integers(1, min(limit, len(seen))))
        bar = smallest.threshold(keep)
        assert keep == len(seen) or bar == seen[keep - 1]


def test_more_than_is_known_cannot_be_kept() -> None:
    smallest = SmallestDraws(2)
    smallest.offer(np.arange(10, dtype=np.uint64))
    with pytest.raises(ValueError, match="only the 2 smallest"):
        smallest.threshold(5)
