"""A log for TensorBoard, beside the CSV file."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from tensorboardX import SummaryWriter

from mtc.training.batches import Batch
from mtc.training.callbacks import History
from mtc.training.ranks import share

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
