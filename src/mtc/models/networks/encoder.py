"""The encoder of the Transformer, which MTC and the multi-task Transformer share.

Source: Sec. 3.3.2, Fig. 4a. B samples, N tokens, D width of a token, H heads, W width of a head; the
comments name the shapes for n x d = 30 x 50.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from mtc.config import ModelConfig


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention over the tokens of each sample.

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
        self.softmax = nn.Softmax(dim=3)  # a module, so that explanations can read the weights by a hook

    def forward(self, z_BND: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        split = (-1, z_BND.shape[1], self.heads, self.head_width)
        q_BHNW = self.query(z_BND).reshape(split).transpose(1, 2)  # 6 x 30 x 8
        k_BHNW = self.key(z_BND).reshape(split).transpose(1, 2)
        v_BHNW = self.value(z_BND).reshape(split).transpose(1, 2)
        weights_BHNN = self.softmax(q_BHNW @ k_BHNW.transpose(2, 3) * self.head_width**-0.5)  # 6 x 30 x 30
        seen_BND = (weights_BHNN @ v_BHNW).transpose(1, 2).flatten(2)  # 30 x 48
        merged: Tensor = self.merge(seen_BND)  # 30 x 50
        return merged


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

    def forward(self, z_BND: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        z_BND = self.attention_norm(z_BND + self.attention(z_BND))  # 30 x 50
        hidden = F.dropout(self.inner(z_BND).relu(), self.dropout, self.training)  # 30 x 1024
        hidden = F.dropout(self.outer(hidden), self.dropout, self.training)  # 30 x 50
        normalised: Tensor = self.ffn_norm(z_BND + hidden)
        return normalised


def encoder_layers(config: ModelConfig, repetitions: int) -> nn.Sequential:
    """``repetitions`` encoder layers one after another."""
    sizes = (config.width, config.heads, config.ffn_width, config.ffn_dropout)
    return nn.Sequential(*(EncoderLayer(*sizes) for _ in range(repetitions)))
