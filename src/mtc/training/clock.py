"""The clock of a run: its time over all sittings, its budget, and a learning rate that falls with it."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from mtc.training.batches import Batch
from mtc.training.ranks import any_of, largest


class RunClock(Callback):
    """Counts time and samples over all sittings of a run, and ends it when its time is up.

    The time for one more step and validation is kept back, so that a run ends inside its budget.
    """

    def __init__(self, max_minutes: float, validation_samples: int = 0) -> None:
        """Args: the budget (0 is no limit), and the size of the validation part."""
        self._validation_samples = validation_samples
        self.limit_s = 60 * max_minutes or float("inf")
        self.total_s = self.train_s = self.validation_s = 0.0
        self.stopped_s = self.now_s = 0.0
        self.samples = self.epochs = 0
        self.out_of_time = False
        self._since = self._step_since = self._validation_since = 0.0

    @property
    def samples_per_s(self) -> float:
        """Training samples a second, validation left aside."""
        return self.samples / self.train_s if self.train_s else 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds of training and validation, earlier sittings included."""
        return self.total_s + time.monotonic() - self._since

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on from the time of earlier sittings, or end at once where it is spent.

        Where no epoch has ended yet there is no model: then one more step, and a validation, are taken.
        """
        self._since = time.monotonic()
        if self.epochs:
            self._stop_if_due(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Time from the end of the batch before, so that waiting for data counts; agree on the time."""
        if batch_idx == 0 or not self._step_since:
            self._step_since = time.monotonic()
        self.now_s = largest(self.elapsed_s) if self.limit_s < float("inf") else self.elapsed_s

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch; stop inside the epoch if the time is up."""
        now = time.monotonic()
        step_s = now - self._step_since
        self.train_s += step_s
        self._step_since = now
        self.samples += batch.whole
        if not self.validation_s and self.limit_s < float("inf"):
            # Not measured yet; a forward pass is about a third of a training step.
            step_s += self._validation_samples / self.samples_per_s / 3
        self._stop_if_due(trainer, keep_back_s=step_s)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start timing a validation."""
        self._validation_since = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know how long a validation takes."""
        self.validation_s = time.monotonic() - self._validation_since

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch."""
        self.epochs += 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.stopped_s = self.elapsed_s

    def state_dict(self) -> dict[str, Any]:
        """Time and samples so far."""
        return {
            "total_s": self.elapsed_s,
            "train_s": self.train_s,
            "validation_s": self.validation_s,
            "samples": self.samples,
            "epochs": self.epochs,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier sitting."""
        self.total_s, self.train_s = state_dict["total_s"], state_dict["train_s"]
        self.validation_s, self.samples = state_dict["validation_s"], state_dict["samples"]
        self.epochs = state_dict["epochs"]

    def _stop_if_due(self, trainer: Trainer, keep_back_s: float = 0.0) -> None:
        if self.limit_s == float("inf"):
            return
        if any_of(self.elapsed_s + 1.25 * self.validation_s + keep_back_s >= self.limit_s):
            self.out_of_time = trainer.should_stop = True


class BudgetSchedule(Callback):
    """Lets the learning rate fall in a straight line to 0 at the end of the run's epochs or minutes.

    Reading: not the paper's; for runs whose budget ends them before its plateau schedule acts.
    """

    def __init__(self, learning_rate: float, clock: RunClock) -> None:
        self._learning_rate, self._clock = learning_rate, clock

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Set the learning rate of the step by what is left of steps or time, whichever is less."""
        steps_done = trainer.global_step / trainer.estimated_stepping_batches
        left = 1 - max(steps_done, self._clock.now_s / self._clock.limit_s)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._learning_rate * max(left, 0.0)
