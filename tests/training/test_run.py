"""A run comes to the same end however often it was interrupted."""

import csv
import errno
import io
import json
import os
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
from mtc.errors import OutputError, UsageError
from mtc.models import load_model
from mtc.training import Interrupted, train
from mtc.training.run_folder import CHECKPOINTS, read_checkpoint

pytestmark = pytest.mark.slow


class AtStep(Callback):
    """Does something at the end of one training step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.action(trainer)


def crash(_: Any) -> None:
    raise ZeroDivisionError("a defect")


def ask_to_end(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def outcome(folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions: scores and history, but for times."""
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = list(csv.DictReader(io.StringIO((folder / "epochs.csv").read_text())))
    for timed in (*rows, metrics):
        for name in ("minutes", "samples_per_s", "train_samples_per_s"):
            timed.pop(name, None)
    return {"metrics": metrics, "history": rows}


def test_same_seed_same_metrics_other_seed_others(
    undisturbed: Path, config: RunConfig, settings: dict, dataset: Any, tmp_path: Path
) -> None:
    train(config, dataset, tmp_path / "again")
    assert outcome(tmp_path / "again") == outcome(undisturbed)
    train(RunConfig.from_dict(settings | {"seed": 4}), dataset, tmp_path / "other")
    assert outcome(tmp_path / "other")["history"] != outcome(undisturbed)["history"]


@pytest.mark.parametrize("step", [2, 5, 7])
def test_resumed_after_a_crash_equals_undisturbed(
    step: int, undisturbed: Path, config: RunConfig, dataset: Any, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError):
        train(config, dataset, tmp_path / "run", callbacks=[AtStep(step, crash)])
    assert not (tmp_path / "run" / "metrics.json").exists()
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(undisturbed)


@pytest.mark.parametrize("step", [2, 5, 9])
def test_sigterm_keeps_the_state_inside_the_epoch(
    step: int, undisturbed: Path, config: RunConfig, dataset: Any, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train(config, dataset, tmp_path / "run", callbacks=[AtStep(step, ask_to_end)])
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == step
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(undisturbed)


def test_ctrl_c_is_ctrl_c_and_the_run_goes_on_from_the_last_epoch(
    undisturbed: Path, config: RunConfig, dataset: Any, tmp_path: Path
) -> None:
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, tmp_path / "run", callbacks=[AtStep(7, interrupt)])
    assert signal.getsignal(signal.SIGINT) == before  # the training library ignores it from then on
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(undisturbed)


def test_resuming_a_finished_run_changes_nothing(
    undisturbed: Path, config: RunConfig, dataset: Any, tmp_path: Path
) -> None:
    train(config, dataset, tmp_path / "run")
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(undisturbed)


def test_more_epochs_may_be_asked_of_a_resumed_run(
    config: RunConfig, settings: dict, dataset: Any, undisturbed: Path, tmp_path: Path
) -> None:
    short = RunConfig.from_dict(settings | {"train": settings["train"] | {"epochs": 1}})
    train(short, dataset, tmp_path / "run")
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(undisturbed)


def test_patience_that_was_used_up_stays_used_up(settings: dict, dataset: Any, tmp_path: Path) -> None:
    # A learning rate that changes nothing: no epoch improves on the first but by accident.
    stubborn = settings["train"] | {"epochs": 30, "stopping_patience": 1, "learning_rate": 0.5}
    config = RunConfig.from_dict(settings | {"train": stubborn})
    train(config, dataset, tmp_path / "run")
    before = outcome(tmp_path / "run")
    assert len(before["history"]) < 30
    assert json.loads((tmp_path / "run" / "run.json").read_text())["ended"] == "patience"
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == before


class Ticks:
    """A clock by which every look takes a moment, however busy the machine is."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        self._seconds += 0.001
        return self._seconds


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtc.training.clock.time", Ticks())


@pytest.mark.usefixtures("ticks")
def test_time_budget_ends_inside_an_epoch_with_a_model(settings: dict, dataset: Any, tmp_path: Path) -> None:
    endless = settings["train"] | {"epochs": 1000, "batch_size": 2, "max_minutes": 1 / 60}
    metrics = train(RunConfig.from_dict(settings | {"train": endless}), dataset, tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["ended"] == "time"
    assert run["minutes"] > 0
    assert metrics["epochs"] == len(outcome(tmp_path / "run")["history"]) < 1000
    steps = int(outcome(tmp_path / "run")["history"][-1]["step"])
    assert steps < 75 * metrics["epochs"]
    assert load_model(tmp_path / "run").card.training["best_epoch"] >= 1


def test_budget_schedule_falls_in_a_straight_line_to_the_last_step(
    settings: dict, dataset: Any, tmp_path: Path
) -> None:
    rates = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    by_budget = settings["train"] | {"schedule": "budget"}
    config = RunConfig.from_dict(settings | {"train": by_budget})
    train(config, dataset, tmp_path / "whole", callbacks=[Watch()])
    assert rates == pytest.approx([1e-3 * (1 - step / 10) for step in range(10)])
    with pytest.raises(ZeroDivisionError):
        train(config, dataset, tmp_path / "run", callbacks=[AtStep(7, crash)])
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.usefixtures("ticks")
def test_budget_schedule_falls_with_the_minutes(settings: dict, dataset: Any, tmp_path: Path) -> None:
    endless = {"epochs": 1000, "batch_size": 2, "max_minutes": 1 / 60, "schedule": "budget"}
    train(RunConfig.from_dict(settings | {"train": endless}), dataset, tmp_path / "run")
    last = outcome(tmp_path / "run")["history"][-1]
    assert float(last["learning_rate"]) < 0.9e-3  # by steps alone it would still be above 0.99e-3


def test_time_that_is_spent_before_the_first_epoch_ends_still_gives_a_model(
    settings: dict, dataset: Any, tmp_path: Path
) -> None:
    config = RunConfig.from_dict(settings | {"train": settings["train"] | {"max_minutes": 1.0}})
    with pytest.raises(Interrupted):
        train(config, dataset, tmp_path / "run", callbacks=[AtStep(2, ask_to_end)])
    short = RunConfig.from_dict(settings | {"train": settings["train"] | {"max_minutes": 1e-6}})
    assert train(short, dataset, tmp_path / "run", resume=True)["epochs"] == 1
    assert [row["step"] for row in outcome(tmp_path / "run")["history"]] == ["3"]


def spoil(trainer: Any) -> None:
    """Make every later output of the network a NaN."""
    with torch.no_grad():
        next(trainer.lightning_module.parameters()).fill_(float("nan"))


@pytest.mark.parametrize(
    ("step", "message"),
    [(8, r"^the loss became nan in epoch 2, batch 4: lower train\.learning_rate"),
     (10, r"^the validation loss became nan in epoch 2, after its last batch: lower train\.learning_rate")],
)  # fmt: skip
def test_a_loss_that_is_no_number_stops_with_advice(
    step: int, message: str, undisturbed: Path, config: RunConfig, dataset: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        train(config, dataset, tmp_path / "run", callbacks=[AtStep(step, spoil)])
    assert "\n" not in str(raised.value)
    train(config, dataset, tmp_path / "run", resume=True)  # what the first epoch came to was kept
    assert outcome(tmp_path / "run") == outcome(undisturbed)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has ..."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_stops_with_advice(
    error: Exception, undisturbed: Path, config: RunConfig, dataset: Any, tmp_path: Path
) -> None:
    def run_out(_: Any) -> None:
        raise error

    with pytest.raises(UsageError) as raised:
        train(config, dataset, tmp_path / "run", callbacks=[AtStep(7, run_out)])
    assert str(raised.value) == "memory ran out at train.batch_size=32: take a smaller one"
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(undisturbed)


def test_other_errors_are_defects(config: RunConfig, dataset: Any, tmp_path: Path) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(config, dataset, tmp_path / "run", callbacks=[AtStep(1, fail)])


def test_killed_and_resumed_equals_undisturbed(settings: dict, tmp_path: Path) -> None:
    """Each run in a process of its own: what other tests did to this one must not show in the digits.

    They are forked from one that has imported everything, and done nothing else.
    """
    script = f"""
        import os, signal, sys, torch
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        torch.set_num_threads(1)
        from conftest import MemoryDataset
        from test_run import AtStep
        from mtc.config import RunConfig
        from mtc.training import train
        kill = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        config = RunConfig.from_dict({settings!r})
        for folder, mode in (("undisturbed", "whole"), ("run", "kill"), ("run", "resume")):
            child = os.fork()
            if not child:
                callbacks = [AtStep(8, kill)] if mode == "kill" else []
                out = os.path.join({str(tmp_path)!r}, folder)
                train(config, MemoryDataset(), out, resume=mode == "resume", callbacks=callbacks)
                os._exit(0)
            print(mode, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    """
    code = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(code, check=True, timeout=550, stdout=subprocess.PIPE, text=True)
    assert done.stdout.splitlines() == ["whole 0", f"kill {-signal.SIGKILL}", "resume 0"]
    assert outcome(tmp_path / "run") == outcome(tmp_path / "undisturbed")


def test_a_disk_that_fills_up_ends_the_run_at_its_last_whole_checkpoint(
    undisturbed: Path, config: RunConfig, dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write(checkpoint: Any, file: Any) -> None:
        if len(written) == 2:  # best and last of the first epoch
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        torch_save(checkpoint, file)
        written.append(checkpoint["epoch"])

    torch_save = torch.save
    with monkeypatch.context() as full:
        full.setattr(torch, "save", write)
        with pytest.raises(OutputError, match=r"ckpt: cannot be written \(.*No space left"):
            train(config, dataset, tmp_path / "run")
    kept = tmp_path / "run" / CHECKPOINTS
    assert {path.name for path in kept.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert read_checkpoint(kept / "last.ckpt")["global_step"] == 5
    train(config, dataset, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(undisturbed)
