import numpy as np
import pytest
import torch

from mtc.config import ModelConfig
from mtc.errors import UsageError
from mtc.inference.dense import dense_form
from mtc.models import Network, build_network, predict_logits

TASKS = {"application": ("a", "b", "c"), "traffic": ("x", "y")}
SMALL = {"tokens": 6, "width": 10, "heads": 3, "ffn_width": 16, "repetitions": (1, 2, 1), "encoders": 2}


def random_network(**settings: object) -> Network:
    """With running statistics, norms and biases that are not what they begin as."""
    torch.manual_seed(0)
    network = build_network(ModelConfig(**{**SMALL, **settings}), TASKS).eval()  # type: ignore[arg-type]
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "norm.weight")):
            tensor.uniform_(0.5, 2.0)
        elif name.endswith(("running_mean", "bias")):
            tensor.uniform_(-0.5, 0.5)
        elif tensor.dim() > 1:
            tensor.mul_(2.0)
    return network


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "mtc"},
        {"name": "mtc", "cnn_pooling": "tokens"},
        {"name": "mtc", "fusion": False},
        {"name": "transformer"},
        {"name": "cnn", "dense_widths": (9, 7), "channels": (8, 6)},
    ],
)
def test_gives_the_logits_of_the_network(settings: dict[str, object]) -> None:
    network = random_network(**settings)
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (9, 60), dtype=np.uint8)
    for row, length in enumerate((0, 1, 10, 11, 35, 59)):
        samples[row, length:] = 0
    form = dense_form(network)
    x_BL = torch.from_numpy(samples / np.float32(255))
    with torch.no_grad():
        found = form(*[x_BL] * len(form.branches))
    expected = predict_logits(network, samples.reshape(-1), np.arange(10) * 60)
    assert set(found) == set(expected) == set(TASKS)
    for task, logits in expected.items():
        np.testing.assert_allclose(found[task].numpy(), logits, atol=2e-5, rtol=0)
        assert np.ptp(logits, axis=0).min() > 1e-3  # they do depend on the sample


def test_keeps_attention_where_asked() -> None:
    form = dense_form(random_network(name="mtc"))
    x_BL = torch.rand(2, 60)
    with torch.no_grad():
        form(x_BL, x_BL)
        assert form.attention == []
        form.keep_attention = True
        form(x_BL, x_BL)
    assert [tuple(weights.shape) for weights in form.attention] == [(2, 3, 6, 6)] * 4
    for weights in form.attention:
        torch.testing.assert_close(weights.sum(3), torch.ones(2, 3, 6))


def test_branches_have_inputs_of_their_own() -> None:
    form = dense_form(random_network(name="mtc", fusion=False))
    x_BL, zero = torch.rand(2, 60), torch.zeros(2, 60)
    with torch.no_grad():
        both, tokens, cnn = form(x_BL, x_BL), form(x_BL, zero), form(zero, x_BL)
    torch.testing.assert_close(both["application"], tokens["application"])
    torch.testing.assert_close(both["traffic"], cnn["traffic"])
    assert not torch.allclose(both["traffic"], tokens["traffic"])


def test_shallow_models_have_none() -> None:
    with pytest.raises(UsageError, match="majority"):
        dense_form(build_network(ModelConfig(name="majority"), TASKS))
