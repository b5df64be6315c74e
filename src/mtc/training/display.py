"""Progress of a run, for people: a bar on a terminal, a plain line an epoch elsewhere."""

import sys
from typing import Any, TextIO

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar

from mtc.training.callbacks import seconds_text
from mtc.training.clock import RunClock
from mtc.training.module import TrainingModule


class EpochLines(Callback):
    """Writes one plain line an epoch."""

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
