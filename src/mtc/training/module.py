"""The training step, the validation and the schedule, as the training library takes them."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from mtc.config import RunConfig
from mtc.errors import UsageError
from mtc.metrics import score
from mtc.models import predict_logits
from mtc.models.networks.base import Network
from mtc.tasks import UNLABELLED, Tasks
from mtc.training.batches import Batch
from mtc.training.ranks import any_of, average_buffers, gathered, share

if TYPE_CHECKING:
    from mtc.datasets import LabelledSamples


PREFIX = "module."
"""Prefix of the averaged network's names in PyTorch's state."""


Tensors = tuple[Tensor, ...] | list[Tensor]


class MovingAverage:
    """The exponentially weighted mean of a network's weights after each step.

    The mean is that of the steps taken, without the weights that training began with: after n steps of
    decay d, the last one counts (1 - d) / (1 - d^n). Running statistics of batch normalization are not
    averaged, but those of the last step: measured, that was better throughout (docs/fields.md).

    It is a copy beside the network. Training never sees it, and nothing has to be swapped for a validation.
    """

    def __init__(self, network: Network, decay: float) -> None:
        """Args: what is trained, and how much of the mean is kept in a step, in [0, 1)."""
        self._decay = decay
        self._model = AveragedModel(network, multi_avg_fn=self._mix, use_buffers=False)
        self._model.eval()

    @property
    def network(self) -> Network:
        """The network with averaged weights, in evaluation mode."""
        averaged = self._model.module
        assert isinstance(averaged, Network)
        return averaged

    def to(self, device: torch.device) -> None:
        """Move to where the trained network is."""
        self._model.to(device)

    def update(self, network: Network) -> None:
        """Take the weights of a step."""
        self._model.update_parameters(network)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged network, by the names of the network's own state, and ``n_averaged``."""
        state = self._model.state_dict()
        return {name.removeprefix(PREFIX): value for name, value in state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        named = {name if name == "n_averaged" else PREFIX + name: value for name, value in state.items()}
        self._model.load_state_dict(named)

    @torch.no_grad()
    def _mix(self, averaged: Tensors, current: Tensors, before: Tensor | int) -> None:
        """Move parameters towards those of a step, before which ``before`` steps were taken."""
        share = (1 - self._decay) / (1 - self._decay ** (int(before) + 1))
        torch._foreach_lerp_(averaged, current, share)


def multi_task_loss(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    weights: Mapping[str, float],
    labelled: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
    balance: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Weighted mean over the tasks of the cross-entropy over the labelled packets.

    Source: Sec. 3.3.5. Reading: the weights are divided by their sum; a packet without a label for a
    task adds nothing to that task, and a task without any label in the batch adds nothing at all.

    Args:
        logits: Task -> float (B, classes), or (B, members, classes) where several networks learn side by
            side: then each has its own loss, and the mean of them counts.
        labels: Task -> int64 (B,), -1 where there is no label.
        weights: Task -> weight; a task that is not named weighs 1.
        labelled: Task -> what the sum of its cross-entropies is divided by; if left out, the labelled
            packets here. Where several processes share a batch, the mean of their losses is then its loss.
        smoothing: Share of each label that is spread over all classes.
        balance: Task -> float32 (classes,), what a sample of each class weighs, see ``class_weights``.

    Returns:
        The loss, a float32 scalar.
    """
    total = sum(weights.get(task, 1.0) for task in logits)
    terms = []
    for task, task_logits in logits.items():
        members = task_logits.shape[1] if task_logits.dim() == 3 else 1
        losses = functional.cross_entropy(
            task_logits.flatten(0, -2).float(),
            labels[task].repeat_interleave(members),
            ignore_index=UNLABELLED,
            reduction="sum",
            label_smoothing=smoothing,
            weight=None if balance is None else balance[task],
        )
        count = (labels[task] != UNLABELLED).sum().clamp(min=1) if labelled is None else labelled[task] or 1.0
        terms.append(weights.get(task, 1.0) / total * losses / (members * count))
    return torch.stack(terms).sum()


def class_weights(labels: NDArray[np.int64], classes: int, balance: float) -> Tensor:
    """Weight of a sample of each class.

    Args:
        labels: int64 (N,), of the training part; -1 where there is none.
        classes: How many classes there are.
        balance: See ``LossConfig.balance``.

    Returns:
        float32 (classes,); the labelled samples weigh 1 on average, and a class without samples 0.
    """
    counts = np.bincount(labels[labels != UNLABELLED], minlength=classes).astype(np.float64)
    raw = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)
    total = float((raw * counts).sum())
    return torch.from_numpy(raw * (counts.sum() / total if total else 0.0)).float()


MONITORED = "validation_loss"
"""Metric of the schedule, of early stopping and of the best checkpoint."""

for _library in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_library).setLevel(logging.ERROR)


class TrainingModule(LightningModule):
    """A network in training.

    The random numbers of a step (dropout) depend on seed, epoch and step alone, so that a resumed
    run draws the same as an undisturbed one.
    """

    def __init__(
        self,
        network: Network,
        tasks: Tasks,
        config: RunConfig,
        labels: Mapping[str, NDArray[np.int64]],
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        """Take what is trained.

        Args:
            network: The network.
            tasks: Its tasks and classes.
            config: The settings.
            labels: Task -> int64 (N,), labels of the training part, -1 where there is none.
            frozen: Modules that stay as they are.
        """
        super().__init__()
        self._balanced = config.loss.balance > 0
        for task, classes in tasks.items() if self._balanced else ():
            weights = class_weights(labels[task], len(classes), config.loss.balance)
            self.register_buffer(f"balance_{task}", weights, persistent=False)
        self.network, self.tasks, self.config = network, tasks, config
        self._frozen = tuple(frozen)
        decay = config.train.averaging
        self._average = MovingAverage(network, decay) if decay else None
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] = {}
        self._loss_sum, self._loss_batches = 0.0, 0
        self.train_loss = 0.0
        """Mean loss of the batches of the epoch, known from its validation on."""
        self._outputs: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for frozen modules."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with an L2 penalty, and the plateau schedule. Source: Sec. 4.1.3."""
        train = self.config.train
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(  # the fused kernel takes a fifth of the time
            trained, lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
        )
        if train.schedule == "plateau":
            self._plateau = ReduceLROnPlateau(
                optimizer, factor=train.plateau_factor, patience=train.plateau_patience
            )
        if self._plateau is not None and self._plateau_state:
            self._plateau.load_state_dict(self._plateau_state)
        return optimizer

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move training batches; validation samples stay where they are."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    @property
    def judged(self) -> Network:
        """The network that is validated and kept: the trained one, or the average of its weights."""
        return self._average.network if self._average is not None else self.network

    def on_train_start(self) -> None:
        """Bring the average to the network's device."""
        if self._average is not None:
            self._average.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        self._loss_sum, self._loss_batches = 0.0, 0

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what the step draws; several processes draw for different samples, so differently."""
        rank = share()[0]
        seeds = [self.config.seed, self.current_epoch, batch_idx, *([rank] if rank else [])]
        numbers = np.random.SeedSequence(seeds)
        torch.manual_seed(int(numbers.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Forward pass and loss of one batch."""
        logits = self.network(batch.packed)
        of = self.config.loss
        balance = {t: self.get_buffer(f"balance_{t}") for t in logits} if self._balanced else None
        loss = multi_task_loss(logits, batch.labels, of.weights, batch.labelled, of.smoothing, balance)
        value = float(loss.detach())
        if any_of(not math.isfinite(value)):
            raise UsageError(self._no_number(f"loss became {value}", f"batch {batch_idx + 1}"))
        self._loss_sum += value
        self._loss_batches += 1
        self.log("loss", value, prog_bar=True, logger=False, batch_size=len(batch))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Average the weights of the step."""
        if self._average is not None:
            self._average.update(self.network)

    def on_validation_epoch_start(self) -> None:
        """Forget the logits of the validation before; look with the statistics of all processes."""
        self._outputs.clear()
        average_buffers(self.network)
        if self._average is not None:
            average_buffers(self._average.network)

    def validation_step(self, samples: "LabelledSamples", batch_idx: int) -> None:
        """Logits of some of the validation part."""
        self._outputs.append((predict_logits(self.judged, samples.data, samples.offsets), samples.labels))

    def on_validation_epoch_end(self) -> None:
        """Loss and macro F1 of the whole validation part; then the plateau schedule."""
        turns = list(zip(*gathered(self._outputs), strict=True))  # process by process, see Chunks
        logits = _joined([outputs for turn in turns for outputs, _ in turn])
        labels = _joined([labels for turn in turns for _, labels in turn])
        self._outputs.clear()
        self.train_loss = float(np.mean(gathered(self._loss_sum / max(self._loss_batches, 1))))
        loss = float(
            multi_task_loss(
                {task: torch.from_numpy(values) for task, values in logits.items()},
                {task: torch.from_numpy(labels[task]) for task in logits},
                self.config.loss.weights,
            )
        )
        if not math.isfinite(loss):
            raise UsageError(self._no_number(f"validation loss became {loss}", "after its last batch"))
        f1 = {
            f"validation_f1_{task}": score(labels[task], logits[task].argmax(1), classes)["macro_f1"] or 0.0
            for task, classes in self.tasks.items()
        }
        self.log(MONITORED, loss, prog_bar=True, logger=False)
        self.log("validation_f1", float(np.mean(list(f1.values()))), prog_bar=True, logger=False)
        self.log_dict(f1, logger=False)
        if self._plateau is not None:
            self._plateau.step(loss)

    def _no_number(self, what: str, where: str) -> str:
        return (
            f"the {what} in epoch {self.current_epoch + 1}, {where}: lower train.learning_rate, or set "
            "train.precision=fp32; checkpoints of earlier epochs are kept"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the schedule and the losses of an epoch that is not over, of all processes.

        A checkpoint that training goes on from keeps the average beside the weights; one of weights alone
        holds the average in their place.
        """
        checkpoint["plateau"] = self._plateau.state_dict() if self._plateau is not None else {}
        checkpoint["losses"] = [float(np.mean(gathered(self._loss_sum))), self._loss_batches]
        if self._average is not None and "optimizer_states" in checkpoint:
            checkpoint["average"] = self._average.state_dict()
        elif self._average is not None:
            averaged = self._average.network.state_dict()
            checkpoint["state_dict"] = {f"network.{name}": value for name, value in averaged.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what ``on_save_checkpoint`` added."""
        self._loss_sum, self._loss_batches = checkpoint["losses"]
        self._plateau_state = checkpoint["plateau"]
        if self._average is not None:
            self._average.load_state_dict(checkpoint["average"])
        if self._plateau is not None:
            self._plateau.load_state_dict(self._plateau_state)


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
