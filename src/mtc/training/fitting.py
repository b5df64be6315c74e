"""The fit of a run: steps, validations and checkpoints, by the training library."""

import contextlib
import ctypes
import platform
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed, nn

from mtc.config import RunConfig, TrainConfig
from mtc.errors import MtcError, UsageError
from mtc.models.networks.base import Network
from mtc.models.predict import native_bf16
from mtc.training.batches import Chunks, PackedLoader
from mtc.training.callbacks import AgreedSigterm, EventLog, History, KeepCheckpoints, early_stopping
from mtc.training.clock import BudgetSchedule, RunClock
from mtc.training.finish import Outcome
from mtc.training.module import TrainingModule
from mtc.training.plan import Plan
from mtc.training.ranks import disconnect
from mtc.training.run_folder import CHECKPOINTS, TENSORBOARD, AtomicCheckpointIO


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


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let this process keep memory that is freed, instead of giving it back to the system.

    The features of a step are tens of megabytes a layer. By default each goes back when it is freed, and
    the next one is made of fresh pages, which the system clears one by one: on long packets that took 29 %
    of a step's time (docs/training.md). What a process holds at most grows a little.

    Returns:
        Whether it could be set; only the GNU C library knows how.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))


Precision = Literal["fp32", "bf16"]


def resolve_precision(setting: str, device: torch.device | str = "cpu") -> Precision:
    """Settle ``train.precision`` for a device.

    Args:
        setting: ``auto``, ``fp32`` or ``bf16``. ``auto`` is bf16 where the device multiplies it
            natively (AMX on a CPU, tensor cores on a GPU): elsewhere it is emulated, and slower.
        device: What the run computes on.

    Returns:
        ``fp32`` or ``bf16``.
    """
    if setting == "bf16" or (setting == "auto" and native_bf16(device)):
        return "bf16"
    return "fp32"


OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out", "timed out")


class Interrupted(MtcError):  # noqa: N818 - a statement, like those of mtc.errors
    """The process was asked to end while it trained; the run can be resumed."""

    exit_status = 130


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the training library's advice (workers, loggers, folders) from the user."""
    with warnings.catch_warnings():
        for module in (r"lightning", r"torch\.utils\.data", r"torch\.nn\.parallel", r"torch\.distributed"):
            warnings.filterwarnings("ignore", module=module)
        yield


@contextlib.contextmanager
def clear_errors(train: TrainConfig) -> Iterator[None]:
    """Around a fit.

    Raises:
        UsageError: Memory ran out, there are fewer devices than requested, or another process of the run
            was lost.
        Interrupted: The process got SIGTERM.
        KeyboardInterrupt: The process got Ctrl-C.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with memory_errors(f"at train.batch_size={train.batch_size}: take a smaller one"):
            yield
    except SIGTERMException as error:
        raise Interrupted("ended by SIGTERM; the state is saved, --resume continues the run") from error
    except SystemExit as error:  # what the training library makes of Ctrl-C
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from error
    except MisconfigurationException as error:
        raise UsageError(f"train.devices={train.devices}: {' '.join(str(error).split())}") from error
    except RuntimeError as error:
        lost = isinstance(error, distributed.DistError) or any(text in str(error) for text in LOST)
        if train.devices * train.nodes == 1 or not lost:
            raise
        raise UsageError(
            "another process of the run is gone; --resume continues from the last epoch"
        ) from error


@contextlib.contextmanager
def memory_errors(where: str) -> Iterator[None]:
    """Report where memory ran out, and what to do.

    Raises:
        UsageError: It did.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise UsageError(f"memory ran out {where}") from error
    except RuntimeError as error:
        if not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        raise UsageError(f"memory ran out {where}") from error
