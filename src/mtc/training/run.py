"""One run, from start to end: fit, take the best epoch, calibrate, score, write the model."""

import contextlib
import platform
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mtc.config import RunConfig
from mtc.errors import DatasetError, MtcError, UsageError
from mtc.models import build_network
from mtc.models.networks import Network
from mtc.tasks import Tasks
from mtc.training.batches import PackedLoader
from mtc.training.callbacks import BEST, BudgetSchedule, History, KeepCheckpoints, RunClock, early_stopping
from mtc.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from mtc.training.features import prepare_parts
from mtc.training.finish import Outcome, write_model
from mtc.training.module import TrainingModule
from mtc.training.precision import resolve_precision
from mtc.training.run_folder import CHECKPOINTS, prepare, write_json
from mtc.training.samples import Chunks, chosen_tasks, trainable_tasks

if TYPE_CHECKING:
    from mtc.datasets import Dataset, LabelledSamples


class Interrupted(MtcError):  # noqa: N818 - a statement, like those of mtc.errors
    """The process was asked to end while it trained; the run can be resumed."""

    exit_status = 130


def train(
    config: RunConfig,
    dataset: "Dataset",
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Train a model and write its run folder (see ``mtc.training.run_folder``).

    Same seed, settings, data and machine: the same metrics, whether the run was interrupted or not
    (except where ``train.max_minutes`` ended it, which is a matter of the clock).

    Args:
        config: The settings.
        dataset: What to train on.
        out: The run folder.
        resume: Go on from the run's own last checkpoint; begin where there is none.
        force: Replace the run that is there.
        callbacks: More callbacks for the training library, for instance to show progress.

    Returns:
        The content of ``metrics.json``.

    Raises:
        UsageError: The run that is there differs, the dataset lacks a task that is named, the loss is no
            longer finite, or memory ran out.
        DatasetError: The dataset has nothing to train or validate on.
        OutputError: Something is there already, or cannot be written.
        Interrupted: The process got SIGTERM; its state was saved.
    """
    out = Path(out).absolute()
    chosen = chosen_tasks(config.data.tasks, dataset.tasks)
    train_part, validation_part, scaler = prepare_parts(config, dataset, *_parts(config, dataset, chosen))
    tasks = trainable_tasks(train_part, chosen)
    checkpoint = prepare(out, config, dataset.hash, resume=resume, force=force)
    write_json(out / "config.json", config.to_dict())
    run: dict[str, Any] = {"dataset": {"path": str(Path(dataset.path).absolute()), "hash": dataset.hash}}
    write_json(out / "run.json", run)

    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices), _quiet():
        torch.manual_seed(config.seed)
        network = build_network(config.model, tasks)
        outcome = _fit(config, network, tasks, train_part, validation_part, out, checkpoint, callbacks)
    best = read_checkpoint(out / CHECKPOINTS / BEST)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): value for name, value in best.items()})
    run |= {"ended": outcome.ended, "epochs": outcome.epochs, "minutes": outcome.minutes}
    write_json(out / "run.json", run)
    return write_model(out, config, network, tasks, dataset, train_part, outcome, scaler)


def _parts(config: RunConfig, dataset: "Dataset", tasks: Tasks) -> "tuple[LabelledSamples, LabelledSamples]":
    train_part, validation_part = (
        dataset.part(config.data.split, part, mask=config.data.mask) for part in ("train", "validation")
    )
    if len(train_part) < 2 or not len(validation_part):
        raise DatasetError(
            f"{dataset.path}: {len(train_part)} samples to train on and {len(validation_part)} to validate "
            "on are too few"
        )
    if not trainable_tasks(train_part, tasks):
        raise DatasetError(f"{dataset.path}: no sample of the training part has a label")
    return train_part, validation_part


def _fit(
    config: RunConfig,
    network: Network,
    tasks: Tasks,
    train_part: "LabelledSamples",
    validation_part: "LabelledSamples",
    out: Path,
    checkpoint: Path | None,
    callbacks: Sequence[Callback],
) -> Outcome:
    clock = RunClock(config.train.max_minutes, len(validation_part))
    keep = KeepCheckpoints(out / CHECKPOINTS)
    history = History(out / "epochs.csv", clock)
    by_budget = config.train.schedule == "budget"
    around = [clock, *([BudgetSchedule(config.train.learning_rate, clock)] if by_budget else []), history]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = resolve_precision(config.train.precision, device)
    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        max_epochs=config.train.epochs,
        callbacks=[*around, *early_stopping(config.train.stopping_patience), *callbacks, keep],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=out,
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=any(_is_progress_bar(callback) for callback in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    loaders = (PackedLoader(train_part, network, config), Chunks(validation_part))
    with _clear_errors(config):
        trainer.fit(TrainingModule(network, tasks, config), *loaders, ckpt_path=checkpoint)
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
        precision=precision,
        machine=f"{torch.cuda.get_device_name() if device == 'cuda' else platform.machine()}, "
        f"{torch.get_num_threads()} threads",
    )


def _is_progress_bar(callback: Callback) -> bool:
    from lightning.pytorch.callbacks import ProgressBar

    return isinstance(callback, ProgressBar)


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
