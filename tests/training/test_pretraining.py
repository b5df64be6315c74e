"""Pre-training without labels: what it learns, what it leaves, what it refuses."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtc.config import ModelConfig, RunConfig, TrainConfig
from mtc.datasets import LabelledSamples
from mtc.errors import UsageError
from mtc.models import build_network, load_model
from mtc.models.fields.inputs import pack_fields
from mtc.models.fields.network import Fields
from mtc.models.fields.numbers import BEYOND
from mtc.training import train
from mtc.training.callbacks import EpochLines
from mtc.training.pretraining import _hide, pretrain

pytestmark = pytest.mark.slow

TASKS = {"application": ("a", "b"), "traffic": ("x", "y")}
CONFIG = RunConfig(
    model=ModelConfig(
        name="fields", leading_bytes=40, encoding_width=4, members=2, dense_widths=(16,), dense_dropout=0.0
    ),
    train=TrainConfig(batch_size=32, epochs=1, learning_rate=0.01, pretrain_epochs=6),
)


def packets(count: int = 256) -> LabelledSamples:
    """Bytes that tell one another: each is the one before plus one."""
    rng = np.random.default_rng(0)
    data = (rng.integers(0, 4, count)[:, None] * 16 + np.arange(40)[None, :] % 16 + 64).astype(np.uint8)
    data[:, 0] = 0x45
    rows = np.arange(count)
    return LabelledSamples(
        data=data.reshape(-1),
        offsets=np.arange(count + 1) * 40,
        labels={task: np.full(count, -1) for task in TASKS},  # it needs none
        flow=rows.astype(np.int32),
        capture=np.zeros(count, np.int32),
        time=rows,
        row=rows,
    )


def network() -> Fields:
    torch.manual_seed(3)
    made = build_network(CONFIG.model, TASKS)
    assert isinstance(made, Fields)
    samples = packets()
    made.prepare(samples.data, samples.offsets)
    return made


class Losses(EpochLines):
    """Keeps the losses."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.seen: list[float] = []

    def on_pretrain_epoch(self, epoch: int, epochs: int, loss: float) -> None:
        self.seen.append(loss)
        super().on_pretrain_epoch(epoch, epochs, loss)


def test_learns_to_guess_bytes_and_leaves_the_heads() -> None:
    made, losses = network(), Losses()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    assert pretrain(made, packets(), CONFIG, (losses,)) > 0
    assert losses._stream.getvalue().startswith("pre-training 1/6  loss ")
    assert len(losses.seen) == 6
    assert losses.seen[0] > 2  # guessing 256 bytes blindly costs 5.5
    assert losses.seen[-1] < 0.6 * losses.seen[0]
    changed = {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {"members.0.bytes.weight", "members.1.numbers", "members.1.dense.0.weight"} <= changed
    assert not any(name.startswith(("heads.", "edges")) for name in changed)


def test_the_same_seed_gives_the_same_weights() -> None:
    found = []
    for _ in range(2):
        made = network()
        torch.manual_seed(5)
        pretrain(made, packets(64), CONFIG)
        found.append(made.state_dict())
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name]), name


def test_hides_bytes_and_numbers_and_says_which() -> None:
    samples = packets()
    batch = pack_fields(samples.data[: 40 * 200 - 10], np.r_[samples.offsets[:200], 40 * 200 - 10], 40)
    torch.manual_seed(0)
    hidden, told = _hide(batch, 40)
    first = torch.arange(40) * (BEYOND + 1)
    known = told < 0
    assert torch.equal(hidden.places[known], batch.places[known])
    assert ((hidden.places - first)[~known] == BEYOND).all()
    assert torch.equal((batch.places - first)[~known], told[~known])
    assert not ((batch.places - first == BEYOND) & ~known).any()  # behind the end nothing is hidden
    assert 0.17 < float((~known).float().mean()) < 0.23
    assert 0.4 < float(hidden.present.sum() / batch.present.sum()) < 0.6


def test_a_run_begins_with_it_and_resumes_behind_it(dataset: Any, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, pretrain_epochs=1))
    losses = Losses()
    train(config, dataset, tmp_path / "run", callbacks=(losses,))
    assert len(losses.seen) == 1
    assert load_model(tmp_path / "run").card.config.train.pretrain_epochs == 1
    again = Losses()
    train(config, dataset, tmp_path / "run", resume=True, callbacks=(again,))
    assert again.seen == []


@pytest.mark.parametrize(
    "model", [ModelConfig(name="cnn"), ModelConfig(name="fields", leading_bytes=0)], ids=["cnn", "features"]
)
def test_other_networks_are_refused(model: ModelConfig) -> None:
    config = dataclasses.replace(CONFIG, model=model)
    made = build_network(model, TASKS)
    with pytest.raises(UsageError, match="network fields on packets"):
        pretrain(made, packets(64), config)
