"""The engine against the plain network, and against itself in other company."""

import os

import numpy as np
import pytest
import torch

from mtc.config import ModelConfig
from mtc.models import MTC, predict_logits
from mtc.models.accelerate import engine_of

CLASSES = {"application": 17, "traffic": 12, "auxiliary": 6}
SMALL = ModelConfig(repetitions=(1, 1, 1), ffn_width=48)
LENGTHS = (
    range(40, 1501) if os.environ.get("MTC_ALL_LENGTHS") else (*range(40, 1501, 91), 1449, 1450, 1499, 1500)
)


def _settled(config, seed=0):
    """A network in evaluation mode whose normalizations do something."""
    torch.manual_seed(seed)
    network = MTC(config, CLASSES).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
        elif name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif "norm" in name and tensor.is_floating_point():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return network


def _plain(network, samples):
    with torch.inference_mode():
        parts = [network(part) for part in samples.split(16)]
    return {task: torch.cat([part[task] for part in parts]).numpy() for task in CLASSES}


def _probabilities(logits):
    return torch.from_numpy(logits).double().softmax(1).numpy()


@pytest.mark.parametrize("pooling", ["global", "tokens"])
def test_every_length_has_the_probabilities_of_the_plain_network(ragged, pooling):
    network = _settled(ModelConfig(cnn_pooling=pooling))
    data, offsets, dense = ragged(LENGTHS)
    expected, found = _plain(network, dense), predict_logits(network, data, offsets)
    for task in CLASSES:
        assert np.abs(_probabilities(expected[task]) - _probabilities(found[task])).max() < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(tokens=7, width=7, heads=7, ffn_width=20, repetitions=(2, 1, 1)),
        ModelConfig(tokens=20, width=75, heads=2, ffn_width=70, repetitions=(1, 1, 2)),
        ModelConfig(
            repetitions=(1, 1, 1), ffn_width=48, transformer_tasks=("application", "traffic", "auxiliary")
        ),
    ],
)
def test_other_sizes_have_the_logits_of_the_network(ragged, config):
    network = _settled(config)
    data, offsets, dense = ragged(range(0, config.length + 1, 13), config.length)
    found = predict_logits(network, data, offsets)
    expected = _plain(network, dense)
    for task in CLASSES:
        assert np.abs(expected[task] - found[task]).max() < 1e-4


def test_without_fusion(ragged):
    network = _settled(ModelConfig(repetitions=(1, 1, 1), ffn_width=48, fusion=False))
    data, offsets, dense = ragged((60, 200, 1500))
    found, expected = predict_logits(network, data, offsets), _plain(network, dense)
    for task in CLASSES:
        assert np.abs(expected[task] - found[task]).max() < 1e-4


def test_features_are_taken_as_they_are():
    network = _settled(ModelConfig(tokens=7, width=7, heads=7, ffn_width=20, repetitions=(1, 1, 1)))
    values = np.random.default_rng(0).random((5, 49), np.float32)
    found = predict_logits(network, values.ravel(), np.arange(6) * 49)
    expected = _plain(network, torch.from_numpy(values))
    for task in CLASSES:
        assert np.abs(expected[task] - found[task]).max() < 1e-4


def test_a_sample_has_the_same_bits_in_any_company(ragged):
    network = _settled(SMALL)
    data, offsets, _ = ragged(np.random.default_rng(1).integers(0, 1501, 40).tolist())
    together = predict_logits(network, data, offsets)
    for i in (0, 7, 39):
        alone = predict_logits(
            network, data[offsets[i] : offsets[i + 1]], np.array([0, offsets[i + 1] - offsets[i]])
        )
        for task in CLASSES:
            assert np.array_equal(alone[task][0], together[task][i])


def test_the_engine_follows_the_weights(ragged):
    network = _settled(SMALL)
    data, offsets, _ = ragged((100, 300))
    before = predict_logits(network, data, offsets)["traffic"]
    assert engine_of(network) is engine_of(network) is not None
    with torch.no_grad():
        network.heads["traffic"].bias.add_(1.0)
    after = predict_logits(network, data, offsets)["traffic"]
    assert np.allclose(after, before + 1.0, atol=1e-5)
