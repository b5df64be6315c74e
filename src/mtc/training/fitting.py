"""The fit of a run: steps, validations and checkpoints, by the training library."""

import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import nn

from mtc.config import RunConfig, TrainConfig
from mtc.errors import UsageError
from mtc.models.networks.base import Network
from mtc.training.batches import PackedLoader
from mtc.training.callbacks import AgreedSigterm, History, KeepCheckpoints, early_stopping
from mtc.training.checkpoint_io import AtomicCheckpointIO
from mtc.training.clock import BudgetSchedule, RunClock
from mtc.training.event_log import EventLog
from mtc.training.finish import Outcome
from mtc.training.memory import keep_freed_memory
from mtc.training.module import TrainingModule
from mtc.training.plan import Plan
from mtc.training.precision import resolve_precision
from mtc.training.ranks import disconnect
from mtc.training.run_folder import CHECKPOINTS, TENSORBOARD
from mtc.training.samples import Chunks
from mtc.training.troubles import clear_errors, quiet


def fit(
    plan: Plan,
    network: Network,
    out: Path,
    checkpoint: Path | None = None,
    *,
    frozen: Sequence[nn.Module] = (),
    callbacks: Sequence[Callback] = (),
    spent_s: float = 0.0,
) -> Outcome:
    """Train a network, in place; its best state is left in the checkpoints.

    Args:
        plan: Settings and data.
        network: What is trained.
        out: The run folder.
        checkpoint: Where to go on from.
        frozen: Modules that stay as they are.
        callbacks: More callbacks for the training library.
        spent_s: Time that the run has taken before, which counts.

    Raises:
        UsageError: The loss is no longer finite, or memory ran out.
        OutputError: A checkpoint cannot be written.
        Interrupted: The process got SIGTERM; its state was saved.
    """
    keep_freed_memory()
    config = plan.config
    clock = RunClock(config.train.max_minutes, len(plan.validation_part))
    clock.total_s = spent_s
    keep = KeepCheckpoints(out / CHECKPOINTS)
    history = History(out / "epochs.csv", clock)
    around: list[Callback] = [clock]
    if config.train.schedule == "budget":
        around.append(BudgetSchedule(config.train.learning_rate, clock))
    around += [history, EventLog(out / TENSORBOARD, history), AgreedSigterm()]
    around += [*early_stopping(config.train.stopping_patience), *callbacks, keep]
    module = TrainingModule(network, plan.tasks, config, plan.train_part.labels, frozen)
    loaders = (PackedLoader(plan.train_part, network, config), Chunks(plan.validation_part))
    with quiet(), clear_errors(config.train):
        trainer = _trainer(config, out, around)
        trainer.fit(module, *loaders, ckpt_path=checkpoint)
    disconnect()
    network.cpu().eval()
    if not history.rows:
        raise UsageError("no epoch was trained: train.epochs and train.max_minutes leave no time")
    reason = "patience" if trainer.should_stop else "epochs"
    return Outcome(
        ended="time" if clock.out_of_time else reason,
        epochs=history.rows[-1]["epoch"],
        best_epoch=keep.best_epoch,
        validation_loss=keep.best_loss,
        minutes=round((clock.stopped_s or clock.total_s) / 60, 3),
        samples_per_s=round(clock.samples_per_s, 2),
        precision=resolve_precision(config.train.precision, _device()),
        machine=f"{torch.cuda.get_device_name() if _device() == 'cuda' else platform.machine()}, "
        f"{torch.get_num_threads()} threads",
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _trainer(config: RunConfig, out: Path, callbacks: Sequence[Callback]) -> Trainer:
    precision = resolve_precision(config.train.precision, _device())
    return Trainer(
        accelerator="gpu" if _device() == "cuda" else "cpu",
        devices=config.train.devices,
        num_nodes=config.train.nodes,
        strategy=_strategy(config.train),
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        max_epochs=config.train.epochs,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=out,
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _strategy(train: TrainConfig) -> Strategy | str:
    if train.strategy == "auto" and train.devices * train.nodes == 1:
        return "auto"
    # Layers that no task is read from get no gradient, and which ones does not change: a static graph.
    # Running statistics are those of each process until a validation, see ``average_buffers``.
    return DDPStrategy(static_graph=True, broadcast_buffers=False)
