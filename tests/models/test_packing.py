"""Batches of ragged samples."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtc.models.packed.batch import pack_samples
from mtc.models.packed.plan import DataFlow
from mtc.models.packed.values import live_tokens

FLOW = DataFlow(30, 50, ("conv", "conv", "down", "up", "conv", "conv", "down", "up", "conv"))


@settings(deadline=None)  # the first batch of a data flow makes its plans
@given(st.lists(st.binary(max_size=1500), min_size=1, max_size=5))
def test_rows_hold_the_bytes_and_weights_count_all_positions(samples):
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in samples])]).astype(np.int64)
    data = np.frombuffer(b"".join(samples), np.uint8)
    batch = pack_samples(data, offsets, FLOW)
    assert len(batch) == len(samples)
    assert torch.isclose(batch.row_share.sum(), torch.tensor(1.0), atol=1e-5)
    assert (batch.row_weight[batch.separators] == 0).all()
    assert (batch.values[batch.separators] == 0).all()
    total = sum(sum(s) for s in samples) / 255
    counted = (batch.values[:, 0] * batch.row_share).sum() * len(samples) * 1500
    assert abs(float(counted) - total) <= 1e-3 * max(1.0, total)


def test_live_tokens_ignore_trailing_zeros():
    samples = [b"\x01" * 50, b"\x01" * 51, b"\x01" + b"\x00" * 700, b"\x00" * 60, b""]
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in samples])]).astype(np.int64)
    live = live_tokens(np.frombuffer(b"".join(samples), np.uint8), offsets, 50)
    assert live.tolist() == [1, 2, 1, 0, 0]


def test_trailing_zeros_change_nothing():
    short = np.arange(1, 101, dtype=np.uint8)
    padded = np.concatenate([short, np.zeros(1400, np.uint8)])
    first = pack_samples(short, np.array([0, 100]), FLOW)
    second = pack_samples(padded, np.array([0, 1500]), FLOW)
    assert torch.equal(first.values, second.values)


def test_features_are_not_scaled():
    flow = DataFlow(7, 7, FLOW.steps)
    values = np.linspace(0.1, 1, 49, dtype=np.float32)
    batch = pack_samples(values, np.array([0, 49]), flow)
    assert torch.allclose(batch.values[1:-1, 0], torch.from_numpy(values))
