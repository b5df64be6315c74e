"""The hash of five-tuples: flows that somebody has chosen take no more steps than others.

Steps are counted, not time: a probe is a slot that is looked at before the one that a flow stands in.
"""

import secrets
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mtc.flows import kernels

FLOWS = 1 << 15
_HASH = kernels.hash_five_tuple


@numba.njit
def _homes(flows: Any, keys: Any, slots: int) -> Any:
    homes = np.empty(len(flows), np.int64)
    for row in range(len(flows)):
        homes[row] = np.int64(_HASH(flows[row], keys) & np.uint64(slots - 1))
    return homes


def _probes(flows: NDArray[Any]) -> tuple[float, int]:
    """Mean and most probes of flows in a table that is half full, with keys as a table draws them."""
    keys = np.frombuffer(secrets.token_bytes(8 * kernels.KEYS), np.uint64)
    slots = np.empty(2 * len(flows), np.int64)
    kernels.fill_slots(slots, flows, len(flows), keys)
    places = np.empty(len(flows), np.int64)
    places[slots[slots >= 0]] = np.flatnonzero(slots >= 0)
    probes = (places - _homes(flows, keys, len(slots))) % len(slots)
    return float(probes.mean()), int(probes.max())


def _flows(count: int = FLOWS) -> NDArray[Any]:
    flows = np.zeros(count, kernels.FLOW)
    flows["protocol"], flows["ip_version"] = 6, 6
    flows["src_high"], flows["dst_high"], flows["dst_low"] = 0x20010DB8 << 32, 0x20010DB9 << 32, 1
    flows["dst_port"] = 443
    return flows


def _ports_hidden_in_addresses() -> NDArray[Any]:
    """What collided before: the port's bits undone by the same bits of the address."""
    flows, number = _flows(), np.arange(FLOWS, dtype=np.uint64)
    flows["src_port"] = number
    flows["src_low"] = number << np.uint64(48)
    return flows


def _ports_added_to_addresses() -> NDArray[Any]:
    flows, number = _flows(), np.arange(FLOWS, dtype=np.uint64)
    flows["src_port"] = number
    flows["src_low"] = np.uint64(1 << 40) - number
    return flows


def _halves_exchanged() -> NDArray[Any]:
    """Pairs of addresses whose words stand in another order, and ends with their ports exchanged."""
    flows, number = _flows(), np.arange(FLOWS, dtype=np.uint64)
    word = 1000 + (number >> np.uint64(2))
    for turn in range(4):
        part = number % 4 == turn
        flows["src_high"][part] = word[part] << np.uint64(32 if turn & 1 else 0)
        flows["src_low"][part] = 7
        flows["src_port"][part] = 1000 if turn & 2 else 443
        flows["dst_port"][part] = 443 if turn & 2 else 1000
    return flows


def _carries() -> NDArray[Any]:
    """Words that differ in their highest bits only, so that most of a product's bits are alike."""
    flows, number = _flows(), np.arange(FLOWS, dtype=np.uint64)
    flows["src_low"] = (number & np.uint64(0xFF)) << np.uint64(56) | (number >> np.uint64(8)) << np.uint64(24)
    return flows


def _sums_of_ends() -> NDArray[Any]:
    """One end goes up by as much as the other goes down."""
    flows, number = _flows(), np.arange(FLOWS, dtype=np.uint64)
    flows["src_low"], flows["dst_low"] = number, np.uint64(FLOWS) - number
    flows["dst_high"] = flows["src_high"]
    return flows


def _neighbours() -> NDArray[Any]:
    """A scan: addresses and ports in a row."""
    flows, number = _flows(), np.arange(FLOWS, dtype=np.uint64)
    flows["ip_version"], flows["src_high"], flows["dst_high"] = 4, 0, 0
    flows["dst_low"] = np.uint64(0x0A000000) + (number >> np.uint64(4))
    flows["dst_port"] = 1 + (number & np.uint64(15))
    return flows


@pytest.mark.parametrize(
    "make",
    [
        _ports_hidden_in_addresses,
        _ports_added_to_addresses,
        _halves_exchanged,
        _carries,
        _sums_of_ends,
        _neighbours,
    ],
)
def test_chosen_flows_take_as_few_probes_as_random_ones(make: Any) -> None:
    """Linear probing at half load: 0.5 probes in the mean (Knuth, volume 3, section 6.4)."""
    flows = make()
    ends = flows[["src_high", "src_low", "src_port", "dst_high", "dst_low", "dst_port"]]
    assert len(np.unique(ends)) == len(flows)
    mean, most = _probes(flows)
    assert mean < 0.7
    assert most < 200


def test_equal_hashes_are_as_rare_as_of_random_numbers() -> None:
    """All 64 bits: among 32,768 flows of any kind two are equal once in 2**35 cases."""
    keys = np.frombuffer(secrets.token_bytes(8 * kernels.KEYS), np.uint64)
    for make in (_ports_hidden_in_addresses, _carries, _sums_of_ends, _halves_exchanged):
        flows = make()
        assert len(np.unique(_homes(flows, keys, 1 << 62))) == len(flows)


def test_both_directions_have_one_hash() -> None:
    keys = np.frombuffer(secrets.token_bytes(8 * kernels.KEYS), np.uint64)
    flows = _halves_exchanged()
    turned = flows.copy()
    for field in ("high", "low", "port"):
        turned[f"src_{field}"], turned[f"dst_{field}"] = flows[f"dst_{field}"], flows[f"src_{field}"]
    assert (_homes(flows, keys, 1 << 62) == _homes(turned, keys, 1 << 62)).all()
