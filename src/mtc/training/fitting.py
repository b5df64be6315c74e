"""The fit of a run: steps, validations and checkpoints, by the training library."""

import contextlib
import platform
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn

from mtc.config import RunConfig
from mtc.errors import MtcError, UsageError
from mtc.models.networks import Network
from mtc.training.batches import PackedLoader
from mtc.training.callbacks import History, KeepCheckpoints, early_stopping
from mtc.training.checkpoint_io import AtomicCheckpointIO
from mtc.training.clock import BudgetSchedule, RunClock
from mtc.training.finish import Outcome
from mtc.training.module import TrainingModule
from mtc.training.plan import Plan
from mtc.training.precision import resolve_precision
from mtc.training.run_folder import CHECKPOINTS
from mtc.training.samples import Chunks


class Interrupted(MtcError):  # noqa: N818 - a statement, like those of mtc.errors
    """The process was asked to end while it trained; the run can be resumed."""

    exit_status = 130


def fit(
    plan: Plan,
    network: Network,
    out: Path,
    checkpoint: Path | None = None,
    *,
    frozen: Sequence[nn.Module] = (),
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Train a network, in place; its best state is left in the checkpoints.

    Args:
        plan: Settings and data.
        network: What is trained.
        out: The run folder.
        checkpoint: Where to go on from.
        frozen: Modules that stay as they are.
        callbacks: More callbacks for the training library.

    Raises:
        UsageError: The loss is no longer finite, or memory ran out.
        OutputError: A checkpoint cannot be written.
        Interrupted: The process got SIGTERM; its state was saved.
    """
    config = plan.config
    clock = RunClock(config.train.max_minutes, len(plan.validation_part))
    keep = KeepCheckpoints(out / CHECKPOINTS)
    history = History(out / "epochs.csv", clock)
    by_budget = config.train.schedule == "budget"
    around = [clock, *([BudgetSchedule(config.train.learning_rate, clock)] if by_budget else []), history]
    around += [*early_stopping(config.train.stopping_patience), *callbacks, keep]
    module = TrainingModule(network, plan.tasks, config, frozen)
    loaders = (PackedLoader(plan.train_part, network, config), Chunks(plan.validation_part))
    with _quiet(), _clear_errors(config):
        trainer = _trainer(config, out, around)
        trainer.fit(module, *loaders, ckpt_path=checkpoint)
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
        devices=1,
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the training library's advice (workers, loggers, folders) from the user."""
    with warnings.catch_warnings():
        for module in (r"lightning", r"torch\.utils\.data"):
            warnings.filterwarnings("ignore", module=module)
        yield


@contextlib.contextmanager
def _clear_errors(config: RunConfig) -> Iterator[None]:
    """Turn what can go wrong in the training library into errors of this package."""
    import signal

    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException as error:
        raise Interrupted("ended by SIGTERM; the state is saved, --resume continues the run") from error
    except SystemExit as error:  # what the training library makes of Ctrl-C
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from error
    except torch.OutOfMemoryError as error:
        raise UsageError(_out_of_memory(config)) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise UsageError(_out_of_memory(config)) from error


def _out_of_memory(config: RunConfig) -> str:
    return f"memory ran out at train.batch_size={config.train.batch_size}: take a smaller one"
