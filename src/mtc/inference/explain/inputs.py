"""What attributions are made of, network by network: inputs that gradients reach, and baselines."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc.errors import UsageError
from mtc.models import LoadedModel, Network
from mtc.models.fields.inputs import pack_fields
from mtc.models.fields.network import Fields, Member, encode_numbers
from mtc.models.fields.numbers import BEYOND, BINS, NUMBERS
from mtc.models.networks.encoder import MultiHeadAttention
from mtc.models.registry import SHALLOW
from mtc.packets import SAMPLE_LENGTH

Attributions = tuple[dict[str, NDArray[np.float32]], dict[str, float]]
"""Part -> what each byte did through it, float32 (1500,), and number -> what it did."""


class Readable(ABC):
    """A network whose inputs are tensors of numbers, one sample at a time."""

    @abstractmethod
    def inputs(self, sample: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """What the network reads of uint8 (1500,), each (1, ...)."""

    @abstractmethod
    def baselines(self) -> tuple[Tensor, ...]:
        """What it reads of a packet of nothing."""

    @abstractmethod
    def logits(self, task: str, *inputs: Tensor) -> Tensor:
        """Inputs (B, ...) -> logits (B, classes)."""

    @abstractmethod
    def attributions(self, values: tuple[Tensor, ...]) -> Attributions:
        """What the attributions of the inputs, (1, ...) each, say of bytes and numbers."""

    def attention(self, *inputs: Tensor) -> NDArray[np.float32]:
        """Attention weights, float32 (layers, heads, tokens, tokens)."""
        return np.empty((0, 0, 0, 0), np.float32)


def readable(model: LoadedModel) -> Readable:
    """The network of a model, ready for attributions.

    Raises:
        UsageError: It reads no packets, or has no gradients.
    """
    config = model.card.config.model
    if config.name in SHALLOW:
        raise UsageError(f"a model of the kind {config.name} has no gradients to explain it by")
    if model.scaler is not None or config.length != SAMPLE_LENGTH:
        raise UsageError(
            f"only verdicts on packets are explained, and this model reads {config.length} values"
        )
    network = model.network
    return _ReadableFields(network) if isinstance(network, Fields) else _ReadableBytes(network)


class _ReadableBytes(Readable):
    """MTC, the Transformer and the 1D-CNN: each branch reads the scaled bytes; the baseline is zeros."""

    def __init__(self, network: Network) -> None:
        self.network = network
        network.requires_grad_(False)

    def inputs(self, sample: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        x_BL = torch.from_numpy(sample[None] / np.float32(255))
        return tuple(x_BL.clone() for _ in self.network.branches)

    def baselines(self) -> tuple[Tensor, ...]:
        return tuple(torch.zeros(1, SAMPLE_LENGTH) for _ in self.network.branches)

    def logits(self, task: str, *inputs: Tensor) -> Tensor:
        return self.network(*inputs)[task]

    def attributions(self, values: tuple[Tensor, ...]) -> Attributions:
        parts = zip(self.network.branches, values, strict=True)
        return {part: value[0].detach().float().numpy() for part, value in parts}, {}

    def attention(self, *inputs: Tensor) -> NDArray[np.float32]:
        layers: list[Tensor] = []
        hooks = [
            module.softmax.register_forward_hook(lambda _module, _inputs, weights: layers.append(weights))
            for module in self.network.modules()
            if isinstance(module, MultiHeadAttention)
        ]
        self.network(*inputs)
        for hook in hooks:
            hook.remove()
        return torch.cat(layers).numpy() if layers else super().attention(*inputs)


class _ReadableFields(Readable):
    """The network of fields: embedded bytes of each member, and encoded numbers.

    The baseline is a packet that ends before its first byte and has no numbers.
    """

    def __init__(self, network: Fields) -> None:
        self.network = network
        network.requires_grad_(False)
        self.members = [member for member in network.members if isinstance(member, Member)]

    def inputs(self, sample: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        batch = pack_fields(sample, np.array([0, len(sample)]), self.network.places)
        edges_FQ = self.network.edges.view(self.network.count, BINS + 1)
        encoded_BFE = encode_numbers(batch, edges_FQ)
        return self._embedded(batch.places), encoded_BFE

    def baselines(self) -> tuple[Tensor, ...]:
        places = torch.arange(self.network.places) * (BEYOND + 1) + BEYOND
        encoding = self.members[0].numbers.shape[1]
        return self._embedded(places[None]), torch.zeros(1, self.network.count, encoding)

    def logits(self, task: str, *inputs: Tensor) -> Tensor:
        embedded_BMPW, encoded_BFE = inputs
        features = [
            member.from_encoded(embedded_BMPW[:, i].flatten(1), encoded_BFE)
            for i, member in enumerate(self.members)
        ]
        return self.network.forward_heads(features)[task]

    def attributions(self, values: tuple[Tensor, ...]) -> Attributions:
        bytes_P = values[0][0].sum((0, 2)).float().numpy()
        numbers_F = values[1][0].sum(1).float().numpy()
        by_byte = np.zeros(SAMPLE_LENGTH, np.float32)
        by_byte[: len(bytes_P)] = bytes_P
        return {"bytes": by_byte}, {name: float(v) for name, v in zip(NUMBERS, numbers_F, strict=True)}

    def _embedded(self, places: Tensor) -> Tensor:
        """(B, P) -> (B, members, P, width)."""
        tables = [member.bytes for member in self.members]
        if any(table is None for table in tables):
            raise UsageError("only verdicts on packets are explained, and this model reads none")
        return torch.stack([table(places) for table in tables if table is not None], 1)
