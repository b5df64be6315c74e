"""The encoder of the Transformer, which MTC and the multi-task Transformer share.

Source: Sec. 3.3.2, Fig. 4a. Shape letters: see ``mtc.models.packed.batch``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.packed.batch import PackedBatch
from mtc.models.packed.encoder_functions import feed_forward, on_kernels


def embed(batch: PackedBatch, width: int) -> Tensor:
    """Cut the sequence into tokens of ``width`` values, (R, 1) -> (E, D). Source: Sec. 3.3.2."""
    # Rows of a token are fewer than its positions where they are equal: repeat each by its count.
    row_count = (batch.row_weight * width).round().to(torch.int64)
    return batch.values[:, 0].repeat_interleave(row_count).reshape(-1, width)


def keep_mask(like: Tensor, dropout: float) -> Tensor:
    """Float mask of dropout, kept values scaled up; on the CPU from 16 random bits a value."""
    if like.device.type != "cpu":
        return F.dropout(torch.ones_like(like), dropout, training=True)
    words = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: like.numel()].view(like.shape)
    # PyTorch's own generator draws 24 bits for each value, which takes several times as long; the
    # probability is dropout to within 2^-17.
    return (bits >= round(dropout * 2**16) - 2**15).float().mul_(1.0 / (1.0 - dropout))


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention over the entries of each sample.

    An entry that stands for k equal tokens gets log k added to its logit: softmax over k equal keys.

    Source: Sec. 3.3.2, Eq. 1-3. Reading: H = 6 does not divide d = 50, so a head is floor(d / H) = 8
    wide, W^Q, W^K, W^V map 50 -> 6 x 8, and W^M maps 48 -> 50.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        inner = heads * self.head_width
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.merge = nn.Linear(inner, width)

    def forward(self, z_ED: Tensor, batch: PackedBatch) -> Tensor:
        """(E, D) -> (E, D)."""
        projections = (self.query, self.key, self.value)
        weight = torch.cat([p.weight for p in projections])
        bias = torch.cat([p.bias for p in projections])
        qkv = F.linear(z_ED, weight, bias)
        samples, slots = batch.slot_entry.shape
        whole = len(qkv) == samples * slots  # all slots are filled, in order
        if not whole:  # a zero entry fills empty slots
            qkv = F.pad(qkv, (0, 0, 0, 1)).index_select(0, batch.slot_entry.reshape(-1))
        table = qkv.reshape(samples, slots, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        q_BHSW, k_BHSW, v_BHSW = table.unbind(0)
        bias = batch.slot_bias.to(q_BHSW.dtype)
        small = self.training and on_kernels(q_BHSW)
        attend = _attend_small if small else F.scaled_dot_product_attention
        out = attend(q_BHSW, k_BHSW, v_BHSW, bias).transpose(1, 2).reshape(samples * slots, -1)
        merged: Tensor = self.merge(out if whole else out.index_select(0, batch.entry_slot))
        return merged


def _attend_small(q_BHSW: Tensor, k_BHSW: Tensor, v_BHSW: Tensor, bias: Tensor) -> Tensor:
    """Attention step by step: with 7 to 30 keys 8 wide, fused kernels on the CPU take longer to train."""
    logits = q_BHSW @ (k_BHSW * q_BHSW.shape[3] ** -0.5).transpose(2, 3)
    return torch.softmax(logits.add_(bias), dim=3) @ v_BHSW


class EncoderLayer(nn.Module):
    """Encoder layer, post-norm: attention, then two fully connected layers, each with a residual.

    Source: Sec. 3.3.2, Fig. 4a; dropout after each of the two fully connected layers.
    """

    def __init__(self, width: int, heads: int, ffn_width: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, ffn_width)
        self.outer = nn.Linear(ffn_width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.dropout = dropout

    def forward(self, z_ED: Tensor, batch: PackedBatch) -> Tensor:
        """(E, D) -> (E, D)."""
        z_ED = self.attention_norm(z_ED + self.attention(z_ED, batch))
        if self.training and on_kernels(z_ED):
            hidden = feed_forward(z_ED, self.inner, self.outer, self.dropout)
        else:
            hidden = self.outer(self._drop(self.inner(z_ED).relu_()))
        normalised: Tensor = self.ffn_norm(z_ED + self._drop(hidden))
        return normalised

    def _drop(self, x: Tensor) -> Tensor:
        return x * keep_mask(x, self.dropout) if self.training and self.dropout else x


def encoder_layers(config: ModelConfig, repetitions: int) -> nn.ModuleList:
    """``repetitions`` encoder layers one after another."""
    sizes = (config.width, config.heads, config.ffn_width, config.ffn_dropout)
    return nn.ModuleList(EncoderLayer(*sizes) for _ in range(repetitions))
