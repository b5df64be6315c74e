import numpy as np
import pytest
import torch

from mtc.config import RunConfig
from mtc.inference.explain.faithfulness import faithfulness
from mtc.models import CNN, LoadedModel, ModelCard, build_network

pytest.importorskip("captum")


def test_deleting_what_is_named_costs_more_than_deleting_at_random() -> None:
    """A 1D-CNN trained to tell packets by the payload's bytes 16 to 31."""
    tasks = {"application": ("low", "high")}
    config = RunConfig.from_dict({"model": {"name": "cnn", "channels": [8, 8], "dense_widths": [16]}})
    rng = np.random.default_rng(0)
    samples = np.zeros((64, 1500), np.uint8)
    samples[:, :140] = rng.integers(1, 256, (64, 140))
    samples[:, 0], samples[:, 9] = 0x45, 17
    labels = rng.integers(0, 2, 64)
    samples[:, 56:72] = (20 + 210 * labels)[:, None]
    torch.manual_seed(0)
    network = build_network(config.model, tasks)
    assert isinstance(network, CNN)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(25):
        batch = network.pack(samples.reshape(-1), np.arange(65) * 1500)
        loss = torch.nn.functional.cross_entropy(network(batch)["application"], torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model = LoadedModel(network.eval(), ModelCard(tasks=tasks, config=config), {})
    found = faithfulness(model, samples[labels == 1][:8], counts=(1, 2), draws=6)
    assert found.packets == 8
    assert found.whole > 0.9
    for count in (1, 2):
        assert found.named[count] < found.random[count] - 0.2
        assert found.random[count] <= found.whole + 0.05
