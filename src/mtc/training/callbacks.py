"""Callbacks of a run: early stopping, checkpoints, history, event log and display."""

import csv
import io
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, RichProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException
from tensorboardX import SummaryWriter

from mtc.files import write_text
from mtc.training.batches import Batch
from mtc.training.clock import RunClock
from mtc.training.module import MONITORED, TrainingModule
from mtc.training.ranks import any_of, share

BEST, LAST = "best.ckpt", "last.ckpt"


class ResumableEarlyStopping(EarlyStopping):
    """Early stopping that a resumed run remembers: patience that was used up stays used up."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End at once if the run had been stopped before."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class AgreedSigterm(Callback):
    """Lets all processes of a run end at the same step when one of them gets SIGTERM.

    The training library would signal the others from inside the signal handler, between whatever they are
    exchanging at that moment.
    """

    def __init__(self) -> None:
        self._received = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signal; the library gives it back to its owner at the end."""
        if share()[1] > 1:
            signal.signal(signal.SIGTERM, self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree, and leave the rest to the library, which looks at its own flag after each step."""
        if share()[1] > 1 and any_of(self._received):
            trainer._signal_connector.received_sigterm = True

    def _note(self, *_: Any) -> None:
        self._received = True


class KeepCheckpoints(Checkpoint):
    """Keeps the checkpoint of the last epoch and of the best one by validation loss.

    The best is written first: whenever the process dies, the last one knows of a best one that is
    on the disk. On SIGTERM the state inside the epoch is kept as the last one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best_loss = float("inf")
        self.best_epoch = 0
        self._saved_step = -1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch that ended."""
        loss = float(trainer.callback_metrics[MONITORED])
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, trainer.current_epoch + 1
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)
        trainer.save_checkpoint(self.folder / LAST)
        self._saved_step = trainer.global_step

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the state inside the epoch if the process was asked to end."""
        if isinstance(exception, SIGTERMException) and trainer.global_step > self._saved_step:
            trainer.save_checkpoint(self.folder / LAST)

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best_loss": self.best_loss, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier sitting."""
        self.best_loss, self.best_epoch = state_dict["best_loss"], state_dict["best_epoch"]


class History(Callback):
    """Writes one CSV row per epoch. The rows travel in the checkpoints, so that a resumed run has them
    all, each once."""  # fmt: skip

    def __init__(self, path: Path, clock: RunClock) -> None:
        self.path, self.clock = path, clock
        self.rows: list[dict[str, Any]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of the epoch that ended."""
        assert isinstance(pl_module, TrainingModule)
        metrics = {
            name: float(value)
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith("validation_")
        }
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "minutes": round(self.clock.elapsed_s / 60, 4),
            "samples_per_s": round(self.clock.samples_per_s, 2),
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train_loss": pl_module.train_loss,
        }
        self.rows.append(row | metrics)
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """All rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier sitting; rows of epochs that were lost are written anew."""
        self.rows = list(state_dict["rows"])
        self._write()

    def _write(self) -> None:
        if share()[0]:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]) if self.rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def early_stopping(patience: int) -> list[Callback]:
    """Early stopping on the validation loss; none where the patience is 0."""
    return [ResumableEarlyStopping(MONITORED, patience=patience)] if patience else []


def seconds_text(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


EVERY = 10
"""Steps between two entries of the loss."""


class EventLog(Callback):
    """Writes the loss of every tenth step and the rows of the history, by step."""

    def __init__(self, folder: Path, history: History) -> None:
        """Args: the folder of the log, and the history, which is to be called before this."""
        self._folder, self._history = folder, history
        self._writer: SummaryWriter | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a file; what an earlier sitting wrote behind the checkpoint is marked as void."""
        if not share()[0]:
            self._writer = SummaryWriter(str(self._folder), purge_step=trainer.global_step + 1)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Write the loss of a step."""
        if self._writer is not None and trainer.global_step % EVERY == 0:
            self._writer.add_scalar("loss/step", float(outputs["loss"]), trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the history knows of the epoch."""
        if self._writer is None:
            return
        row = self._history.rows[-1]
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(_tag(name), value, row["step"])
        self._writer.flush()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the file."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _tag(column: str) -> str:
    """``validation_f1_traffic`` stands under ``f1``, as ``f1/traffic``."""
    if column.startswith("validation_f1"):
        return f"f1/{column.removeprefix('validation_f1').strip('_') or 'mean'}"
    return {"train_loss": "loss/train", "validation_loss": "loss/validation"}.get(column, f"run/{column}")


class EpochLines(Callback):
    """Writes one plain line per epoch."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def on_pretrain_epoch(self, epoch: int, epochs: int, loss: float) -> None:
        """Write the line of an epoch of pre-training."""
        self._stream.write(f"pre-training {epoch}/{epochs}  loss {loss:.4f}\n")
        self._stream.flush()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where a resumed run goes on."""
        if trainer.global_step and trainer.is_global_zero:
            self._stream.write(f"resumed at step {trainer.global_step}\n")
            self._stream.flush()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the line of the epoch that ended."""
        assert isinstance(pl_module, TrainingModule)
        if not trainer.is_global_zero:
            return
        clock = next(c for c in trainer.callbacks if isinstance(c, RunClock))  # type: ignore[attr-defined]
        metrics = trainer.callback_metrics
        self._stream.write(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  loss {pl_module.train_loss:.4f}  "
            f"validation loss {float(metrics['validation_loss']):.4f}  "
            f"macro F1 {float(metrics['validation_f1']):.4f}  "
            f"{clock.samples_per_s:.0f} samples/s  {seconds_text(clock.elapsed_s)}\n"
        )
        self._stream.flush()


class TrainingBar(RichProgressBar):
    """A progress bar on stderr, with the loss and the validation scores."""

    def __init__(self) -> None:
        super().__init__(leave=True, console_kwargs={"stderr": True})

    def on_pretrain_epoch(self, epoch: int, epochs: int, loss: float) -> None:
        """Write a line for an epoch of pre-training, before there is a bar."""
        sys.stderr.write(f"pre-training {epoch}/{epochs}  loss {loss:.4f}\n")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Loss and scores, without the version number that the library would show."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {name.replace("_", " "): value for name, value in metrics.items()}

    def _get_train_description(self, current_epoch: int) -> str:
        # The library counts from 0, which reads "Epoch 2/2" in the last of three.
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"


def progress_display() -> Callback:
    """For stderr: a bar where it is a terminal, else plain lines."""
    return TrainingBar() if sys.stderr.isatty() else EpochLines(sys.stderr)
