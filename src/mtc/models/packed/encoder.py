"""The encoder on entries, for training and evaluation on the CPU; the packed form of the Transformer.

Shape letters: see ``mtc.models.packed.batch``.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.models.networks.encoder import EncoderLayer, MultiHeadAttention
from mtc.models.networks.transformer import Transformer
from mtc.models.packed import kernels
from mtc.models.packed.batch import PackedBatch, pack_samples
from mtc.models.packed.plan import DataFlow
from mtc.models.packed.values import COPIES, Layout, Values


class PackedTransformer:
    """``mtc.models.Transformer``: tokens know their place, so all are computed, but positions are not."""

    def __init__(self, network: Transformer) -> None:
        self._network = network

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout) -> PackedBatch:
        """Samples as entries, one for every token; positions, which may be equal, have no dropout."""
        return pack_samples(data, offsets, DataFlow.of_transformer(self._network.config, COPIES["packed"]))

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """All of them, whatever the sample's length."""
        return np.full_like(live, self._network.config.length)

    def logits(self, batch: PackedBatch) -> dict[str, Tensor]:
        """Task -> logits, float32 (B, classes)."""
        z_ED = batch.embed() + self._network.encoding.repeat(len(batch), 1)
        for layer in self._network.encoders:
            z_ED = encode(layer, z_ED, batch)
        tokens = z_ED.reshape(len(batch), -1)
        return {task: head(tokens).float() for task, head in self._network.heads.items()}


def encode(layer: nn.Module, z_ED: Tensor, batch: PackedBatch) -> Tensor:
    """One ``EncoderLayer``, (E, D) -> (E, D)."""
    assert isinstance(layer, EncoderLayer)
    z_ED = layer.attention_norm(z_ED + attend(layer.attention, z_ED, batch))
    if layer.training and on_kernels(z_ED):
        hidden = feed_forward(z_ED, layer.inner, layer.outer, layer.dropout)
    else:
        hidden = layer.outer(_drop(layer, layer.inner(z_ED).relu_()))
    normalised: Tensor = layer.ffn_norm(z_ED + _drop(layer, hidden))
    return normalised


def attend(layer: MultiHeadAttention, z_ED: Tensor, batch: PackedBatch) -> Tensor:
    """Attention over the entries of each sample, (E, D) -> (E, D).

    An entry that stands for k equal tokens gets log k added to its logit: softmax over k equal keys.
    """
    projections = (layer.query, layer.key, layer.value)
    weight = torch.cat([p.weight for p in projections])
    bias = torch.cat([p.bias for p in projections])
    qkv = F.linear(z_ED, weight, bias)
    samples, slots = batch.slot_entry.shape
    whole = len(qkv) == samples * slots  # all slots are filled, in order
    if not whole:  # a zero entry fills empty slots
        qkv = F.pad(qkv, (0, 0, 0, 1)).index_select(0, batch.slot_entry.reshape(-1))
    table = qkv.reshape(samples, slots, 3, layer.heads, layer.head_width).permute(2, 0, 3, 1, 4)
    q_BHSW, k_BHSW, v_BHSW = table.unbind(0)
    bias = batch.slot_bias.to(q_BHSW.dtype)
    small = layer.training and on_kernels(q_BHSW)
    attention = _attend_small if small else F.scaled_dot_product_attention
    out = attention(q_BHSW, k_BHSW, v_BHSW, bias).transpose(1, 2).reshape(samples * slots, -1)
    merged: Tensor = layer.merge(out if whole else out.index_select(0, batch.entry_slot))
    return merged


def _attend_small(q_BHSW: Tensor, k_BHSW: Tensor, v_BHSW: Tensor, bias: Tensor) -> Tensor:
    """Attention step by step: with 7 to 30 keys 8 wide, fused kernels on the CPU take longer to train."""
    logits = q_BHSW @ (k_BHSW * q_BHSW.shape[3] ** -0.5).transpose(2, 3)
    return torch.softmax(logits.add_(bias), dim=3) @ v_BHSW


def keep_mask(like: Tensor, dropout: float) -> Tensor:
    """Float mask of dropout, kept values scaled up; on the CPU from 16 random bits a value."""
    if like.device.type != "cpu":
        return F.dropout(torch.ones_like(like), dropout, training=True)
    words = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: like.numel()].view(like.shape)
    # PyTorch's own generator draws 24 bits for each value, which takes several times as long; the
    # probability is dropout to within 2^-17.
    return (bits >= round(dropout * 2**16) - 2**15).float().mul_(1.0 / (1.0 - dropout))


def _drop(layer: EncoderLayer, x: Tensor) -> Tensor:
    return x * keep_mask(x, layer.dropout) if layer.training and layer.dropout else x


def on_kernels(x: Tensor) -> bool:
    """Whether the kernels of this package take ``x``: in single precision, on the CPU."""
    on_cpu = x.device.type == "cpu" and x.dtype == torch.float32
    return on_cpu and not torch.is_autocast_enabled("cpu")


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z_ED: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, dropout: float
    ) -> Tensor:
        kernels.use_threads(torch.get_num_threads())
        hidden = torch.addmm(bias1, z_ED, weight1.T)
        seed = int(torch.randint(2**31, ())) if dropout else 0
        kernels.relu_dropout(hidden.numpy(), dropout, seed)
        ctx.save_for_backward(z_ED, hidden, weight1, weight2)
        ctx.dropout = dropout
        return torch.addmm(bias2, hidden, weight2.T)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z_ED, hidden, weight1, weight2 = ctx.saved_tensors
        grad_hidden = grad @ weight2
        sums = kernels.relu_dropout_backward(grad_hidden.numpy(), hidden.numpy(), ctx.dropout)
        return (
            grad_hidden @ weight1,
            grad_hidden.T @ z_ED,
            torch.from_numpy(sums),
            grad.T @ hidden,
            grad.sum(0),
            None,
        )


def feed_forward(z_ED: Tensor, inner: nn.Linear, outer: nn.Linear, dropout: float) -> Tensor:
    """Two dense layers with ReLU and dropout between them, (E, D) -> (E, D)."""
    weights = (inner.weight, inner.bias, outer.weight, outer.bias)
    out: Tensor = _FeedForward.apply(z_ED, *weights, dropout)  # type: ignore[no-untyped-call]
    return out
