"""Tasks may be called what modules may not."""

import numpy as np
import pytest
import torch
from torch import nn

from mtc.config import ModelConfig
from mtc.errors import UsageError
from mtc.models import build_network, pack
from mtc.models.fields.engine import FieldsEngine
from mtc.models.networks.base import Heads, head_name
from mtc.tasks import check_task_names

ODD = ("type", "float", "training", "items", "a.b", "a%2Eb", "task type", "task float", "Länge/Größe")


def test_the_papers_heads_keep_their_names() -> None:
    for task in ("application", "traffic", "auxiliary", "attack", "malicious", "label", "device"):
        assert head_name(task) == task


def test_any_task_has_a_head_of_its_own() -> None:
    heads = Heads({task: nn.Linear(3, i + 2) for i, task in enumerate(ODD)})
    assert [(task, head.out_features) for task, head in heads.items()] == [
        (task, i + 2) for i, task in enumerate(ODD)
    ]
    state = heads.state_dict()
    assert len(state) == 2 * len(ODD)
    for task, head in heads.items():
        assert torch.equal(state[f"{head_name(task)}.weight"], head.weight)
        assert heads.get_submodule(head_name(task)) is head


TASKS = dict.fromkeys(ODD, ("one", "two"))


@pytest.mark.parametrize("name", ["mtc", "cnn", "transformer"])
def test_networks_of_any_tasks(name: str) -> None:
    network = build_network(ModelConfig(name=name), TASKS)  # type: ignore[arg-type]
    assert [task for task, _ in network.heads.items()] == list(ODD)


def test_the_engine_of_fields_finds_the_heads_of_any_tasks() -> None:
    data = np.random.default_rng(2).integers(0, 256, 500, np.uint8)
    offsets = np.array([0, 100, 300, 500])
    config = ModelConfig(name="fields", leading_bytes=20, members=2, dense_widths=(16,), encoding_width=4)
    network = build_network(config, TASKS)
    network.prepare(data, offsets)
    network.eval()
    for i, head in enumerate(network.heads.values()):
        head.bias.data.fill_(i)  # so that a mix-up of tasks shows
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    engine = FieldsEngine.of(config, network.classes, arrays)
    assert engine is not None
    found, expected = engine.logits(data, offsets), network(pack(data, offsets, network))
    for task in ODD:
        assert np.allclose(found[task], expected[task].detach().numpy(), atol=1e-4)


def test_names_of_fields_are_refused() -> None:
    check_task_names([*ODD, "kind_confidence"])
    for name in (
        "flow",
        "service",
        "verdict",
        "app_proto",
        "server_name",
        "ja4",
        "alpn",
        "vpn",
        "split_x",
        "",
    ):
        with pytest.raises(UsageError, match="field of the output"):
            check_task_names(["kind", name])
    with pytest.raises(UsageError, match="kind_confidence"):
        check_task_names(["kind", "kind_confidence"])
