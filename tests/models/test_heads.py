"""Tasks may be called what modules may not."""

import pytest
import torch
from torch import nn

from mtc.config import ModelConfig
from mtc.models import build_network
from mtc.models.networks.base import Heads, head_name

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


@pytest.mark.parametrize("name", ["mtc", "cnn", "transformer"])
def test_networks_of_any_tasks(name: str) -> None:
    network = build_network(ModelConfig(name=name), dict.fromkeys(ODD, ("one", "two")))  # type: ignore[arg-type]
    assert [task for task, _ in network.heads.items()] == list(ODD)
