"""The packed form of all four models against the plain network."""

import copy
import dataclasses
import os

import pytest
import torch

from mtc.config import load_recipe
from mtc.models import build_network, pack

pytestmark = pytest.mark.slow

TASKS = {"application": 17, "traffic": 12, "auxiliary": 6}
MODELS = ("mtc", "mtc-2task", "transformer", "cnn")
# What a step of 13 bytes leaves out takes minutes in the plain network. 13 and 50 have no common divisor, so
# that packets end at every place in a token, and in every token.
STEP = 1 if os.environ.get("MTC_ALL_LENGTHS") else 13


def _network(model, **settings):
    """A network by its recipe, its weights away from where they begin."""
    recipe = load_recipe(f"iscx-{model}")
    config = dataclasses.replace(recipe.model, **settings)
    tasks = {task: tuple(map(str, range(TASKS[task]))) for task in recipe.data.tasks or TASKS}
    torch.manual_seed(7)
    network = build_network(config, tasks)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.copy_(0.2 * torch.randn(tensor.shape))
        elif name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape))
        elif "norm.weight" in name:
            tensor.copy_(0.8 + 0.4 * torch.rand(tensor.shape))
        elif "norm.bias" in name:
            tensor.copy_(0.1 * torch.randn(tensor.shape))
    return network


def _every_length(model):
    # MTC without its third task has the same layers but for a head.
    step = 63 if model == "mtc-2task" and STEP > 1 else STEP
    return sorted({*range(40, 1501, step), 1499, 1500})


@pytest.mark.parametrize("model", MODELS)
def test_evaluation_mode_gives_the_same_logits_for_packets_of_every_length(ragged, model):
    network = _network(model).eval()
    lengths = _every_length(model)
    with torch.inference_mode():
        for first in range(0, len(lengths), 64):
            data, offsets, samples = ragged(lengths[first : first + 64], seed=first)
            ours, theirs = network(pack(data, offsets, network)), network(samples)
            assert ours.keys() == theirs.keys()
            for task, logits in theirs.items():
                torch.testing.assert_close(ours[task], logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("layout", ["packed", "copied"])
@pytest.mark.parametrize("model", MODELS)
def test_training_without_dropout_gives_the_same_gradients(ragged, model, layout):
    """With the statistics of the batch, in single precision, by the kernels that training uses."""
    network = _network(model, ffn_dropout=0.0, cnn_dropout=0.0, dense_dropout=0.0).train()
    plain = copy.deepcopy(network).double()
    data, offsets, samples = ragged([40, 52, 77, 150, 203, 350, 577, 900, 1449, 1500])
    ours, theirs = network(pack(data, offsets, network, layout=layout)), plain(samples.double())
    weights = {task: torch.linspace(-1, 1, v.numel()).reshape(v.shape) for task, v in theirs.items()}
    sum((ours[task] * weight).sum() for task, weight in weights.items()).backward()
    sum((theirs[task] * weight.double()).sum() for task, weight in weights.items()).backward()
    for task, logits in theirs.items():
        torch.testing.assert_close(ours[task], logits, atol=1e-4, rtol=0)
    expected = dict(plain.named_parameters())
    difference = sum((p.grad - expected[name].grad).square().sum() for name, p in network.named_parameters())
    whole = sum(p.grad.square().sum() for p in expected.values())
    assert difference.sqrt() < 1e-3 * whole.sqrt()
    statistics = dict(plain.named_buffers())
    for name, values in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(values.double(), statistics[name], atol=1e-4, rtol=1e-4)
