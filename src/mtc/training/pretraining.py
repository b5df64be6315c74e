"""Self-supervised pre-training of the network of fields: it guesses bytes that were hidden from it.

Labels say little of most bytes, and the flows with labels are few. What a packet's bytes have to do with
one another can be learned without a label: some of the leading bytes and half of the numbers are hidden,
and each member has to predict the hidden bytes from the rest.

After the masked language models of Devlin et al., "BERT", NAACL 2019; Lin et al., "ET-BERT", WWW 2022,
for encrypted traffic. It sees the training part alone: no packet of a flow of another part.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import RunConfig
from mtc.datasets import LabelledSamples
from mtc.errors import UsageError
from mtc.models.fields.inputs import FieldBatch, pack_fields
from mtc.models.fields.network import Fields, Member, encode_numbers
from mtc.models.fields.numbers import BEYOND, BINS
from mtc.models.networks.base import Network
from mtc.models.networks.cnn import Dense

HIDDEN_BYTES = 0.2
"""Share of the leading bytes that are hidden."""

HIDDEN_NUMBERS = 0.5
"""Share of the numbers that are hidden, since they give bytes away."""

WEIGHT_DECAY = 1e-5


def pretrain(
    network: Network, samples: LabelledSamples, config: RunConfig, callbacks: Sequence[Callback] = ()
) -> float:
    """Train the members on hidden bytes; labels are not looked at.

    Args:
        network: Of fields, that reads packets; its quantiles are known. Heads of tasks stay as they are.
        samples: The training part.
        config: ``train.pretrain_epochs``, batch size, learning rate and seed are of interest.
        callbacks: Their ``on_pretrain_epoch(epoch, epochs, loss)``, where they have one, is called behind
            each epoch, from 1, with the mean cross-entropy of a hidden byte in nats.

    Returns:
        Seconds that it took.

    Raises:
        UsageError: The network is another one, or the loss is no longer finite.
    """
    if not isinstance(network, Fields) or not network.places:
        raise UsageError("train.pretrain_epochs is for the network fields on packets")
    started, epochs = time.monotonic(), config.train.pretrain_epochs
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    width = config.model.encoding_width
    guessers = [Guesser(member, network.places, width).to(device) for member in network.members]
    parameters = [p for guesser in guessers for p in guesser.parameters()]
    rate = config.train.learning_rate
    optimizer = torch.optim.Adam(parameters, rate, weight_decay=WEIGHT_DECAY, fused=True)
    network.train()
    for epoch in range(epochs):
        losses = []
        for batch in _batches(network, samples, config, epoch):
            hidden, bytes_BP = _hide(batch.to(device), network.places)
            encoded_BFE = encode_numbers(hidden, network.edges.view(network.count, BINS + 1))
            loss = torch.stack([guess(hidden.places, encoded_BFE, bytes_BP) for guess in guessers]).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()) / len(guessers))
        mean = float(np.mean(losses))
        if not np.isfinite(mean):
            raise UsageError("the loss of pre-training is no longer finite; try a smaller learning rate")
        for callback in callbacks:
            if hasattr(callback, "on_pretrain_epoch"):
                callback.on_pretrain_epoch(epoch + 1, epochs, mean)
    network.to("cpu")
    return time.monotonic() - started


class Guesser(nn.Module):
    """A member, and what reads the hidden bytes off its last layer."""

    def __init__(self, member: nn.Module, places: int, width: int) -> None:
        """Args: the member, how many leading bytes it reads, and the width of their encoding."""
        super().__init__()
        assert isinstance(member, Member)
        assert member.bytes is not None
        self.member, self.embedding, self.places, self.width = member, member.bytes, places, width
        last = member.dense[-1]
        assert isinstance(last, Dense)
        self.guess = nn.Linear(last.weight.shape[0], places * width)

    def forward(self, places: Tensor, encoded_BFE: Tensor, bytes_BP: Tensor) -> Tensor:
        """Mean cross-entropy of the hidden bytes.

        Args:
            places: int64 (B, P), with the hidden ones marked as behind the end.
            encoded_BFE: Encoded numbers.
            bytes_BP: int64 (B, P), the byte where it is hidden, -1 elsewhere.
        """
        guessed_BPW = self.guess(self.member(places, encoded_BFE)).view(-1, self.places, self.width)
        table_PVW = self.embedding.weight.view(self.places, BEYOND + 1, self.width)[:, :BEYOND]
        hidden_PB = (bytes_BP >= 0).T
        # Place by place, since each has encodings of its own.
        guessed_KW = guessed_BPW.transpose(0, 1)[hidden_PB]
        counts = hidden_PB.sum(1).tolist()
        logits = [
            guessed @ table.T for guessed, table in zip(guessed_KW.split(counts), table_PVW, strict=True)
        ]
        return F.cross_entropy(torch.cat(logits), bytes_BP.T[hidden_PB])


def _batches(
    network: Fields, samples: LabelledSamples, config: RunConfig, epoch: int
) -> Iterator[FieldBatch]:
    rng = np.random.default_rng([config.seed, epoch, 1])
    order: NDArray[np.int64] = rng.permutation(len(samples))
    size = config.train.batch_size
    for first in range(0, max(len(order) - size, 0) + 1, size):
        taken = samples.take(order[first : first + size])
        yield pack_fields(taken.data, taken.offsets, network.places)


def _hide(batch: FieldBatch, places: int) -> tuple[FieldBatch, Tensor]:
    """The batch with bytes and numbers hidden, and the bytes: int64 (B, P), -1 where none was hidden."""
    first = torch.arange(places, device=batch.places.device) * (BEYOND + 1)
    bytes_BP = batch.places - first
    drawn = torch.rand(bytes_BP.shape, device=bytes_BP.device) < HIDDEN_BYTES
    hidden = drawn & (bytes_BP != BEYOND)
    shown = batch.present * (torch.rand_like(batch.present) >= HIDDEN_NUMBERS)
    masked = replace(batch, places=torch.where(hidden, BEYOND, bytes_BP) + first, present=shown)
    return masked, torch.where(hidden, bytes_BP, -1)
