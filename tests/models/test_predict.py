"""Prediction: order, batching and temperatures do not show in the result."""

import numpy as np
import pytest
import torch

from mtc.config import ModelConfig
from mtc.errors import UsageError
from mtc.models import Temperature, build_network, pack, predict_logits, predict_probabilities

TASKS = {"vendor": ("a", "b", "c"), "kind": ("x", "y")}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(ModelConfig(repetitions=(1, 1, 1), ffn_width=32), TASKS).eval()


def test_a_sample_gets_its_own_logits_whatever_stands_beside_it(network, ragged):
    lengths = np.random.default_rng(1).integers(0, 1501, 60)
    data, offsets, _ = ragged(lengths.tolist())
    done = []
    together = predict_logits(network, data, offsets, advance=done.append)
    assert sum(done) == 60
    assert len(done) > 1
    for i in (0, 17, 59):
        alone = predict_logits(network, data[offsets[i] : offsets[i + 1]], np.array([0, lengths[i]]))
        for task in TASKS:
            assert np.allclose(alone[task][0], together[task][i], atol=1e-5)


def test_no_samples_no_rows(network):
    logits = predict_logits(network, np.empty(0, np.uint8), np.zeros(1, np.int64))
    assert logits["vendor"].shape == (0, 3)


def test_bfloat16_agrees_roughly(network, ragged):
    data, offsets, _ = ragged([100, 300])
    batch = pack(data, offsets, network)
    with torch.inference_mode():
        exact = network(batch)
        with torch.autocast("cpu", torch.bfloat16):
            reduced = network(batch)
    for task in TASKS:
        assert reduced[task].dtype == torch.float32
        assert torch.allclose(exact[task], reduced[task], atol=0.1)


def test_training_step_in_bfloat16(ragged):
    torch.manual_seed(0)
    network = build_network(ModelConfig(repetitions=(1, 1, 1), ffn_width=32), TASKS)
    data, offsets, _ = ragged([100, 300, 20])
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(v.square().mean() for v in network(pack(data, offsets, network)).values())
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_probabilities_are_calibrated_and_absent_classes_are_zero():
    logits = {"vendor": np.array([[1.0, 2.0, 9.0], [0.0, 0.0, 0.0]], np.float32)}
    result = predict_probabilities(logits, {"vendor": Temperature(2.0)}, {"vendor": np.array([2])})["vendor"]
    odds = np.exp(0.5)
    assert np.allclose(result[0], [1 / (1 + odds), odds / (1 + odds), 0])
    assert np.allclose(result[1], [0.5, 0.5, 0])


def test_a_sample_that_is_too_long_is_refused(network):
    with pytest.raises(UsageError, match="at most 1500"):
        pack(np.zeros(1501, np.uint8), np.array([0, 1501]), network)
