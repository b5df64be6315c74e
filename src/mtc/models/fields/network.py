"""The network of fields: header fields as numbers and leading bytes as categories, then dense layers.

Not of the paper. A byte of a header is a name more than an amount, and a header field is a number that
its bytes only spell: this network gets both, where MTC has to find them out from bytes scaled to
[0, 1]. docs/evaluation.md has what that is worth on flows that training never saw.

Source: Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning",
NeurIPS 2022, for the piecewise linear and periodic encodings of numbers.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.fields.inputs import FieldBatch, pack_fields
from mtc.models.fields.numbers import BEYOND, BINS, NUMBERS, OCTAVES
from mtc.models.networks.base import Heads, Logits, Network
from mtc.models.networks.cnn import Dense
from mtc.models.packed.cnn import activate
from mtc.models.packed.values import Layout, Values


class Fields(Network):
    """Several members, each with encodings and dense layers of its own; their mean is the verdict."""

    edges: Tensor

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        self.places = config.leading_bytes
        self.count = len(NUMBERS) if self.places else config.length
        self.register_buffer("edges", torch.zeros(self.count * (BINS + 1)))
        self.members = nn.ModuleList(Member(config, self.places, self.count) for _ in range(config.members))
        width = config.dense_widths[-1]
        self.heads = Heads({task: MemberHeads(config.members, width, size) for task, size in classes.items()})

    def prepare(self, data: Values, offsets: NDArray[np.int64]) -> None:
        """Take the quantiles of the numbers of the training part."""
        batch = pack_fields(data, offsets, self.places)
        shares = np.linspace(0.0, 1.0, BINS + 1)
        edges = np.zeros((self.count, BINS + 1), np.float32)
        numbers, present = batch.numbers.numpy(), batch.present.numpy() > 0
        for i in range(self.count):
            known = numbers[present[:, i], i]
            if len(known):
                edges[i] = np.quantile(known, shares)
        self.edges.copy_(torch.from_numpy(edges.ravel()))

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout = "packed") -> FieldBatch:
        """Places and numbers; there is no padding to leave out."""
        return pack_fields(data, offsets, self.places)

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same for every sample, however long it is: about as much work as fifty positions of MTC."""
        return np.full_like(live, 50)

    def read(self, batch: Tensor) -> FieldBatch:
        """Places and numbers of a dense batch."""
        rows = batch.cpu().numpy()
        if self.places and rows.dtype != np.uint8:
            rows = np.rint(rows * 255).astype(np.uint8)
        offsets = np.arange(len(rows) + 1) * rows.shape[1]
        return pack_fields(rows.reshape(-1), offsets, self.places).to(batch.device)

    def forward(self, batch: FieldBatch) -> Logits:
        """Task -> logits; in training those of each member, see ``forward_heads``."""
        return self.forward_heads(self.forward_features(batch))

    def forward_features(self, batch: FieldBatch) -> Sequence[Tensor]:
        """The last dense layer of each member, (B, width)."""
        encoded_BFE = encode_numbers(batch, self.edges.view(self.count, BINS + 1))
        return [member(batch.places, encoded_BFE) for member in self.members]

    def forward_heads(self, features: Sequence[Tensor]) -> Logits:
        """The classification layer.

        Returns:
            Task -> logits: in training of each member, (B, members, classes), for every member learns by
            itself; in evaluation the logarithm of the members' mean probability, (B, classes).
        """
        logits = {task: head(features).float() for task, head in self.heads.items()}
        if self.training:
            return logits
        several = float(np.log(len(self.members)))
        return {task: values.log_softmax(2).logsumexp(1) - several for task, values in logits.items()}


class MemberHeads(nn.Module):
    """The heads of one task: a linear layer for each member."""

    def __init__(self, members: int, width: int, classes: int) -> None:
        super().__init__()
        layers = [nn.Linear(width, classes) for _ in range(members)]
        # One row per class, as in any linear layer, so that a head for other classes can be cut out of it.
        self.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers], 1))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers], 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """``members`` times (B, width) -> (B, members, classes)."""
        weights = self.weight.chunk(len(features), 1)
        parts = [
            nn.functional.linear(x_BC, weight, self.bias[:, i])
            for i, (x_BC, weight) in enumerate(zip(features, weights, strict=True))
        ]
        return torch.stack(parts, 1)


class FusedDense(Dense):
    """``Dense``, whose normalization, ReLU and dropout are one compiled kernel on the CPU."""

    def forward(self, x_BC: Tensor) -> Tensor:
        """(B, in) -> (B, out)."""
        if x_BC.device.type != "cpu":
            return super().forward(x_BC)
        return activate(self, nn.functional.linear(x_BC, self.weight))


class Member(nn.Module):
    """Encodings of places and numbers, then dense layers."""

    def __init__(self, config: ModelConfig, places: int, numbers: int) -> None:
        super().__init__()
        width = config.encoding_width
        self.bytes = nn.Embedding(places * (BEYOND + 1), width) if places else None
        if self.bytes is not None:
            nn.init.normal_(self.bytes.weight, std=0.3)
        self.numbers = nn.Parameter(torch.randn(numbers, BINS + 2 * OCTAVES, width) * 0.2)
        self.numbers_bias = nn.Parameter(torch.randn(numbers * width) * 0.1)
        widths = ((places + numbers) * width, *config.dense_widths)
        self.dense = nn.Sequential(
            *(FusedDense(inner, outer, config.dense_dropout) for inner, outer in pairwise(widths))
        )

    def forward(self, places: Tensor, encoded_BFE: Tensor) -> Tensor:
        """(B, P) and (B, F, encoding) -> (B, width)."""
        return self.from_encoded(None if self.bytes is None else self.bytes(places).flatten(1), encoded_BFE)

    def from_encoded(self, bytes_BC: Tensor | None, encoded_BFE: Tensor) -> Tensor:
        """Encoded places, (B, P * encoding width), and encoded numbers -> (B, width)."""
        numbers_BC = torch.einsum("bfe,fec->bfc", encoded_BFE, self.numbers).flatten(1)
        inputs = [(numbers_BC + self.numbers_bias).relu()]
        if bytes_BC is not None:
            inputs.insert(0, bytes_BC)
        features: Tensor = self.dense(torch.cat(inputs, 1))
        return features


def encode_numbers(batch: FieldBatch, edges_FQ: Tensor) -> Tensor:
    """Piecewise linear and periodic encodings, (B, F, bins + 2 octaves); zeros where a field is missing.

    The first say where a number stands among those of the training part; the second which numbers are
    close to one another, as the ports and packet identifiers of one host at one time are.
    """
    low_FQ, high_FQ = edges_FQ[:, :-1], edges_FQ[:, 1:]
    x_BF1 = batch.numbers[:, :, None]
    linear = ((x_BF1 - low_FQ) / (high_FQ - low_FQ).clamp(min=1e-9)).clamp(0.0, 1.0)
    waves = x_BF1 * (2 * torch.pi * 2.0 ** torch.arange(OCTAVES, device=x_BF1.device))
    return torch.cat([linear, waves.sin(), waves.cos()], 2) * batch.present[:, :, None]
