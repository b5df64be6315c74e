"""Runs that start from given weights, and layers that stay as they are."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mtc.config import RunConfig
from mtc.errors import ModelError, UsageError
from mtc.files import read_json
from mtc.models import build_network, load_model
from mtc.training import train
from mtc.training.initial import freeze, load_start, take_weights

pytestmark = pytest.mark.slow

NEW_TASKS = {"application": ("b", "other", "a"), "colour": ("red", "blue")}


@pytest.fixture(scope="module")
def given(config: RunConfig, dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run with the tasks application (a, b, never) and traffic."""
    folder = tmp_path_factory.mktemp("given") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(config, dataset, folder)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def new_dataset(dataset: Any) -> Any:
    """The same packets under other labels: a and b swapped, and a task of its own."""
    parts = {
        name: replace(
            samples,
            labels={
                "application": np.where(samples.labels["application"] == 0, 2, 0),
                "colour": samples.labels["application"],
            },
        )
        for name, samples in dataset.parts.items()
    }
    return type(dataset)(path=Path("other"), hash="1" * 64, tasks=NEW_TASKS, parts=parts)


def changed(settings: dict, **sections: dict) -> RunConfig:
    return RunConfig.from_dict(settings | {name: settings.get(name, {}) | s for name, s in sections.items()})


def test_layers_are_taken_and_heads_by_label(given: Path, config: RunConfig, new_dataset: Any) -> None:
    model = load_model(given).network.state_dict()
    network = build_network(config.model, NEW_TASKS)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fresh = take_weights(network, NEW_TASKS, load_start(given, new_dataset))
    after = network.state_dict()
    assert fresh == {"application": ["other"], "colour": ["red", "blue"]}
    for name, tensor in after.items():
        if not name.startswith("heads."):
            assert torch.equal(tensor, model[name])
    for part in ("weight", "bias"):
        head, old = after[f"heads.application.{part}"], model[f"heads.application.{part}"]
        assert torch.equal(head[[2, 0]], old[[0, 1]])  # a is the last here, b the first
        assert torch.equal(head[1], before[f"heads.application.{part}"][1])
        assert torch.equal(after[f"heads.colour.{part}"], before[f"heads.colour.{part}"])


@pytest.mark.parametrize("name", ["mtc", "transformer", "cnn"])
def test_frozen_layers_stay_as_they_are(
    name: str, settings: dict, dataset: Any, new_dataset: Any, tmp_path: Path
) -> None:
    layers = {"mtc": ["block1", "block3"], "transformer": ["encoders"], "cnn": ["first", "dense"]}[name]
    # Dropout would show: frozen layers must not drop anything either.
    config = changed(settings, model={"name": name, "ffn_dropout": 0.0, "cnn_dropout": 0.0})
    train(config, dataset, tmp_path / "given")
    tuned = changed(settings, model={"name": name}, train={"freeze": layers})
    train(tuned, new_dataset, tmp_path / "tuned", init=tmp_path / "given")
    before, after = (load_model(tmp_path / f).network.state_dict() for f in ("given", "tuned"))
    frozen = [name for name in before if any(name.startswith(f"{layer}.") for layer in layers)]
    assert any("running_mean" in name for name in frozen) or name == "transformer"
    for parameter in frozen:
        assert torch.equal(before[parameter], after[parameter]), parameter
    others = [n for n in before if n not in frozen and n.endswith("weight") and not n.startswith("heads.")]
    assert not others or any(not torch.equal(before[n], after[n]) for n in others)
    notes = load_model(tmp_path / "tuned").card.notes
    assert any(note.startswith("Started from the weights of given (sha256 ") for note in notes)
    assert f"Not trained: {', '.join(layers)}." in notes
    assert "application: other were new to them." in notes


def test_starting_from_weights_starts_better(
    given: Path, settings: dict, dataset: Any, tmp_path: Path
) -> None:
    one_epoch = changed(settings, train={"epochs": 1})
    train(one_epoch, dataset, tmp_path / "scratch")
    train(one_epoch, dataset, tmp_path / "tuned", init=given)
    losses = [
        float(next(csv.DictReader((tmp_path / name / "epochs.csv").read_text().splitlines()))["train_loss"])
        for name in ("scratch", "tuned")
    ]
    assert losses[1] < losses[0]


def test_a_run_remembers_where_it_started(
    given: Path, config: RunConfig, dataset: Any, tmp_path: Path
) -> None:
    train(config, dataset, tmp_path / "run", init=given)
    assert read_json(tmp_path / "run" / "run.json")["init"]["path"] == str(given)
    assert load_model(tmp_path / "run").card.training["init"]["hash"] == load_start(given, dataset).hash
    with pytest.raises(UsageError, match="other weights"):
        train(config, dataset, tmp_path / "run", resume=True)
    train(config, dataset, tmp_path / "run", init=given, resume=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"repetitions": [1, 2, 1]}, r"model.repetitions is \[1,1,1\] there and \[1,2,1\] here; take --set"),
        ({"name": "cnn"}, "model.name is mtc there and cnn here"),
        (
            {"cnn_pooling": "tokens"},
            "the head of traffic reads 200 values there and 1000 here",
        ),
        ({"transformer_tasks": ["traffic"]}, "the head of application reads 50 values there and 200 here"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    model: dict, message: str, given: Path, settings: dict, dataset: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        train(changed(settings, model=model), dataset, tmp_path / "run", init=given)
    assert not (tmp_path / "run").exists()


def test_models_of_packets_and_of_flow_features_do_not_mix(given: Path, dataset: Any) -> None:
    flows = type(dataset)(info=SimpleNamespace(name="flows", features=SimpleNamespace(selected=("a", "b"))))
    with pytest.raises(UsageError, match="reads packets, the dataset holds flow features"):
        load_start(given, flows)
    with pytest.raises(ModelError, match="no such model"):
        load_start(given / "nothing", dataset)


def test_flow_features_keep_the_transform_of_the_weights(
    flows_model: Path, flows_dataset: Path, tmp_path: Path
) -> None:
    from mtc.config import load_recipe
    from mtc.datasets import Dataset, QuantileScaler

    small = ["model.ffn_width=16", "model.repetitions=[1, 1, 1]", "train.epochs=1", "data.split=paper"]
    dataset = Dataset.open(flows_dataset)
    train(load_recipe("cicids2017-mtc", small), dataset, tmp_path / "run", init=flows_model)
    kept, given = load_model(tmp_path / "run").scaler, load_model(flows_model).scaler
    assert kept is not None
    assert given is not None
    assert np.array_equal(kept.quantiles, given.quantiles)
    own = QuantileScaler.fit(dataset.part("paper", "train").dense())
    assert not np.array_equal(kept.quantiles, own.quantiles)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["blokc1"], r"train.freeze names blokc1; the network's layers are block1, block2, block3, heads"),
        (["block1", ""], "train.freeze names"),
        (["block1", "block2", "block3", "heads"], "nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused(names: list[str], message: str, config: RunConfig) -> None:
    with pytest.raises(UsageError, match=message):
        freeze(build_network(config.model, NEW_TASKS), names)


def test_gradients_pass_through_frozen_layers(config: RunConfig, dataset: Any) -> None:
    from mtc.models import pack

    network = build_network(config.model, {"application": ("a", "b"), "traffic": ("x", "y")})
    for module in freeze(network.train(), ["block2", "block3"]):
        module.eval()
    samples = dataset.parts["train"].take(np.arange(8))
    logits = network(pack(samples.data, samples.offsets, network))
    sum(values.square().sum() for values in logits.values()).backward()
    for name, parameter in network.named_parameters():
        if name.startswith("block1.bottleneck"):
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name
        elif name.startswith(("block2", "block3")):
            assert parameter.grad is None
