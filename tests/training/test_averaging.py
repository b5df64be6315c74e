"""A moving average of the weights: what it is, what it leaves alone, and that a run keeps it."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from mtc.config import RunConfig
from mtc.errors import UsageError
from mtc.models import build_network, load_model
from mtc.training import train
from mtc.training.module import MovingAverage
from mtc.training.run_folder import CHECKPOINTS, read_checkpoint

DECAY = 0.8

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "model": {
        "name": "fields",
        "leading_bytes": 20,
        "encoding_width": 4,
        "members": 2,
        "dense_widths": [16],
        "dense_dropout": 0.1,
    },
    "train": {"epochs": 2, "batch_size": 32, "learning_rate": 0.01},
}
"""Five steps an epoch; with batch statistics and dropout."""


def averaged(**more: Any) -> dict[str, Any]:
    return SETTINGS | {"train": SETTINGS["train"] | {"averaging": DECAY} | more}


def outcome(folder: Path) -> tuple[Any, list[str]]:
    """What must not depend on interruptions: scores and history, but for times."""
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("minutes", "train_samples_per_s"):
        metrics.pop(name)
    lines = (folder / "epochs.csv").read_text().splitlines()
    timed = [lines[0].split(",").index(name) for name in ("minutes", "samples_per_s")]
    return metrics, [
        ",".join(cell for i, cell in enumerate(line.split(",")) if i not in timed) for line in lines
    ]


class Steps(Callback):
    """Keeps the network's state after each step, and does something after one of them."""

    def __init__(self, at: int = 0, action: Any = None) -> None:
        self.states: list[dict[str, torch.Tensor]] = []
        self.at, self.action = at, action

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.states.append({name: value.clone() for name, value in module.network.state_dict().items()})
        if trainer.global_step == self.at:
            self.action(trainer)


def expected(states: list[dict[str, torch.Tensor]], name: str) -> torch.Tensor:
    """The exponentially weighted mean, from its definition."""
    weights = [DECAY ** (len(states) - 1 - step) for step in range(len(states))]
    terms = [weight * state[name].double() for weight, state in zip(weights, states, strict=True)]
    return sum(terms, torch.zeros(())) / sum(weights)


def close(found: torch.Tensor, mean: torch.Tensor) -> None:
    torch.testing.assert_close(found.double(), mean, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def whole(dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Steps]:
    """Folder and steps of a run from start to end."""
    folder, steps = tmp_path_factory.mktemp("averaging") / "whole", Steps()
    train(RunConfig.from_dict(averaged()), dataset, folder, callbacks=[steps])
    return folder, steps


def test_a_run_keeps_the_mean_of_its_steps(whole: tuple[Path, Steps]) -> None:
    folder, steps = whole
    best, last = (read_checkpoint(folder / CHECKPOINTS / name) for name in ("best.ckpt", "last.ckpt"))
    network = load_model(folder).network.state_dict()
    assert last["global_step"] == len(steps.states) == 10
    for name, value in steps.states[-1].items():
        kept = best["state_dict"][f"network.{name}"]
        assert torch.equal(last["state_dict"][f"network.{name}"], value)  # training goes on from the weights
        if "running" not in name and value.is_floating_point():
            close(last["average"][name], expected(steps.states, name))
            close(kept, expected(steps.states[: best["global_step"]], name))
            torch.testing.assert_close(network[name], kept, rtol=1e-3, atol=1e-3)  # rounded to half precision
        else:  # statistics of batch normalization are the current ones
            assert torch.equal(last["average"][name], value)


def test_training_itself_is_the_same_without(whole: tuple[Path, Steps], dataset: Any, tmp_path: Path) -> None:
    train(RunConfig.from_dict(SETTINGS), dataset, tmp_path / "without")
    losses = [
        [line.split(",")[5] for line in (folder / "epochs.csv").read_text().splitlines()]
        for folder in (tmp_path / "without", whole[0])
    ]
    assert losses[0] == losses[1]
    assert losses[0][0] == "train_loss"
    assert outcome(tmp_path / "without")[1] != outcome(whole[0])[1]  # but another network is validated


@pytest.mark.parametrize("step", [5, 7])
def test_interrupted_runs_end_in_the_same_metrics(
    step: int, whole: tuple[Path, Steps], dataset: Any, tmp_path: Path
) -> None:
    """The run that gets SIGTERM is a process of its own: a process of the tests takes it for the end."""
    script = f"""
        import os, signal, sys, torch
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        torch.set_num_threads({torch.get_num_threads()})
        from conftest import MemoryDataset
        from test_averaging import Steps
        from mtc.config import RunConfig
        from mtc.training import train
        end = Steps({step}, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        train(RunConfig.from_dict({averaged()!r}), MemoryDataset(), sys.argv[1], callbacks=[end])
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.rstrip().splitlines()[-1].startswith("mtc.training"), done.stderr[-2000:]
    assert "Interrupted: ended by SIGTERM" in done.stderr
    train(RunConfig.from_dict(averaged()), dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(whole[0])


def test_killed_and_resumed_equals_undisturbed(tmp_path: Path) -> None:
    """Each run in a process of its own, with pre-training, which is not averaged."""
    changed = averaged(pretrain_epochs=1)
    script = f"""
        import os, signal, sys, torch
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        torch.set_num_threads(1)
        from conftest import MemoryDataset
        from test_averaging import Steps
        from mtc.config import RunConfig
        from mtc.training import train
        kill = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        callbacks = [Steps(8, kill)] if sys.argv[2] == "kill" else []
        config = RunConfig.from_dict({changed!r})
        train(config, MemoryDataset(), sys.argv[1], resume=sys.argv[2] == "resume", callbacks=callbacks)
    """

    def run(folder: str, mode: str) -> int:
        code = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / folder), mode]
        return subprocess.run(code, check=False, timeout=90).returncode

    assert run("undisturbed", "whole") == 0
    assert run("run", "kill") == -signal.SIGKILL
    assert run("run", "resume") == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "undisturbed")


def test_a_run_that_its_time_ends_has_an_averaged_model(dataset: Any, tmp_path: Path) -> None:
    steps = Steps()
    endless = averaged(epochs=1000, batch_size=2, max_minutes=1 / 60)
    train(RunConfig.from_dict(endless), dataset, tmp_path / "run", callbacks=[steps])
    assert json.loads((tmp_path / "run" / "run.json").read_text())["ended"] == "time"
    best = read_checkpoint(tmp_path / "run" / CHECKPOINTS / "best.ckpt")
    name = next(iter(steps.states[0]))
    close(best["state_dict"][f"network.{name}"], expected(steps.states[: best["global_step"]], name))


def test_weights_that_are_no_numbers_stop_the_run(
    whole: tuple[Path, Steps], dataset: Any, tmp_path: Path
) -> None:
    config = RunConfig.from_dict(averaged())

    def spoil(trainer: Any) -> None:
        with torch.no_grad():
            next(trainer.lightning_module.parameters()).fill_(float("nan"))

    with pytest.raises(UsageError, match="validation loss became nan in epoch 2"):
        train(config, dataset, tmp_path / "run", callbacks=[Steps(10, spoil)])
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(whole[0])


def test_frozen_layers_stay_as_they_are(whole: tuple[Path, Steps], dataset: Any, tmp_path: Path) -> None:
    config = RunConfig.from_dict(averaged(freeze=["members"]))
    train(config, dataset, tmp_path / "run", init=whole[0])
    before, after = (load_model(folder).network.state_dict() for folder in (whole[0], tmp_path / "run"))
    frozen = [name for name in before if name.startswith("members.")]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_another_decay_is_another_run(whole: tuple[Path, Steps], dataset: Any) -> None:
    other = RunConfig.from_dict(averaged(averaging=0.5))
    with pytest.raises(UsageError, match=r"other settings \(train\.averaging\)"):
        train(other, dataset, whole[0], resume=True)


def test_the_first_step_alone_is_its_own_mean(dataset: Any) -> None:
    config = RunConfig.from_dict(SETTINGS)
    network = build_network(config.model, dataset.tasks)
    average = MovingAverage(network, 0.99)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    average.update(network)
    for name, value in network.state_dict().items():
        assert torch.equal(average.network.state_dict()[name], value)
    again = MovingAverage(build_network(config.model, dataset.tasks), 0.99)
    again.load_state_dict(average.state_dict())
    assert int(again.state_dict()["n_averaged"]) == 1
    assert not again.network.training
