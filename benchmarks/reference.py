"""Plain eager PyTorch transcription of Sec. 3.3 and Table 3: the reference of every claim about speed.

It shares nothing with ``mtc.models`` but the names of its parameters, so that weights move between
the two by ``load_state_dict``, and its settings. Every position of every sample is computed, padding
included, in the (batch, channels, position) layout of ``torch.nn.Conv1d``.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtc.config import ModelConfig


class ConvNorm(nn.Conv1d):
    """Convolution, batch normalization, optional ReLU, dropout."""

    def __init__(self, c_in: int, c_out: int, kernel: int, dropout: float, relu: bool = True) -> None:
        super().__init__(c_in, c_out, kernel, stride=1, padding=kernel // 2, bias=False)
        self.norm, self.relu, self.dropout = nn.BatchNorm1d(c_out), relu, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(super().forward(x))
        return self.dropout(F.relu(x) if self.relu else x)


class Bottleneck(nn.Module):
    def __init__(self, c_in: int, inner: int, outer: int, dropout: float) -> None:
        super().__init__()
        self.reduce = ConvNorm(c_in, inner, 1, dropout)
        self.middle = ConvNorm(inner, inner, 3, dropout)
        self.expand = ConvNorm(inner, outer, 1, dropout, relu=False)
        self.shortcut = ConvNorm(c_in, outer, 1, 0.0, relu=False) if c_in != outer else None

    def residual(self, x: Tensor) -> Tensor:
        return x if self.shortcut is None else self.shortcut(x)


class Attention(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.h, self.dk = heads, d // heads
        self.query, self.key, self.value = (nn.Linear(d, self.h * self.dk) for _ in range(3))
        self.merge = nn.Linear(self.h * self.dk, d)

    def forward(self, z: Tensor) -> Tensor:
        b, n, _ = z.shape
        q, k, v = (
            layer(z).reshape(b, n, self.h, self.dk).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = torch.softmax(q @ k.transpose(2, 3) / self.dk**0.5, dim=-1)
        return self.merge((weights @ v).transpose(1, 2).reshape(b, n, -1))


class Encoder(nn.Module):
    def __init__(self, d: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(d, heads), nn.LayerNorm(d)
        self.inner, self.outer, self.ffn_norm = nn.Linear(d, ffn), nn.Linear(ffn, d), nn.LayerNorm(d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: Tensor) -> Tensor:
        z = self.attention_norm(z + self.attention(z))
        return self.ffn_norm(z + self.dropout(self.outer(self.dropout(F.relu(self.inner(z))))))


class Down(nn.Module):
    def __init__(self, channels: int, n: int, d: int) -> None:
        super().__init__()
        self.n, self.project, self.norm = n, nn.Linear(channels, d), nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv1d(x, self.project.weight[:, :, None], self.project.bias)
        return self.norm(F.adaptive_avg_pool1d(x, self.n).transpose(1, 2))


class Up(nn.Module):
    def __init__(self, channels: int, d: int) -> None:
        super().__init__()
        self.project, self.norm = nn.Linear(d, channels, bias=False), nn.BatchNorm1d(channels)

    def forward(self, z: Tensor, length: int) -> Tensor:
        x = F.conv1d(z.transpose(1, 2), self.project.weight[:, :, None])
        return self.norm(F.interpolate(x, size=length, mode="nearest"))


class First(nn.Module):
    def __init__(self, c: "Sizes") -> None:
        super().__init__()
        self.encoders = c.encoders(0)
        self.bottleneck = Bottleneck(1, 50, 100, c.cnn_dropout)

    def forward(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        for encoder in self.encoders:
            z = encoder(z)
        b = self.bottleneck
        return z, F.relu(b.expand(b.middle(b.reduce(x))) + b.residual(x))


class Fused(nn.Module):
    def __init__(self, c: "Sizes", number: int, c_in: int, inner: int, outer: int) -> None:
        super().__init__()
        self.first = Bottleneck(c_in, inner, outer, c.cnn_dropout)
        self.merge_norm, self.encoders = nn.LayerNorm(c.d), c.encoders(number - 1)
        self.second = Bottleneck(outer, inner, outer, c.cnn_dropout)
        self.down, self.up = Down(inner, c.n, c.d), Up(inner, c.d)

    def forward(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.first, self.second
        local = a.middle(a.reduce(x))
        x = F.relu(a.expand(local) + a.residual(x))
        z = self.merge_norm(z + self.down(local))
        for encoder in self.encoders:
            z = encoder(z)
        local = b.middle(b.reduce(x) + self.up(z, x.shape[2]))
        return z, F.relu(b.expand(local) + b.residual(x))


class Sizes:
    """The numbers of Sec. 3.3 and 4.1.3."""

    def __init__(
        self,
        n: int = 30,
        d: int = 50,
        heads: int = 6,
        ffn: int = 1024,
        repetitions: tuple[int, ...] = (1, 5, 6),
        ffn_dropout: float = 0.1,
        cnn_dropout: float = 0.07,
        pooling: str = "global",
    ) -> None:
        self.n, self.d, self.heads, self.ffn, self.repetitions = n, d, heads, ffn, repetitions
        self.ffn_dropout, self.cnn_dropout, self.pooling = ffn_dropout, cnn_dropout, pooling

    @classmethod
    def of(cls, config: ModelConfig) -> "Sizes":
        """The sizes of a configuration."""
        return cls(
            config.tokens,
            config.width,
            config.heads,
            config.ffn_width,
            config.repetitions,
            config.ffn_dropout,
            config.cnn_dropout,
            config.cnn_pooling,
        )

    def encoders(self, block: int) -> nn.ModuleList:
        sizes = (self.d, self.heads, self.ffn, self.ffn_dropout)
        return nn.ModuleList(Encoder(*sizes) for _ in range(self.repetitions[block]))


class ReferenceMTC(nn.Module):
    """Dense MTC: float32 (B, n * d) -> {task: logits (B, classes)}."""

    def __init__(self, classes: dict[str, int], sizes: Sizes | None = None, tokens_task: str = "") -> None:
        super().__init__()
        c = self.sizes = sizes or Sizes()
        self.tokens_task = tokens_task or next(iter(classes))
        self.block1 = First(c)
        self.block2 = Fused(c, 2, 100, 50, 100)
        self.block3 = Fused(c, 3, 100, 100, 200)
        on_cnn = 200 * (c.n if c.pooling == "tokens" else 1)
        self.heads = nn.ModuleDict(
            {t: nn.Linear(c.n * c.d if t == self.tokens_task else on_cnn, k) for t, k in classes.items()}
        )

    def forward(self, samples: Tensor) -> dict[str, Tensor]:
        c = self.sizes
        z, x = samples.reshape(-1, c.n, c.d), samples[:, None, :]
        for block in (self.block1, self.block2, self.block3):
            z, x = block(z, x)
        pooled = F.adaptive_avg_pool1d(x, c.n if c.pooling == "tokens" else 1)
        cnn = pooled.transpose(1, 2).flatten(1)
        return {t: head(z.flatten(1) if t == self.tokens_task else cnn) for t, head in self.heads.items()}


class ReferenceTransformer(nn.Module):
    """Dense multi-task Transformer (Sec. 4.3.1): float32 (B, n * d) -> {task: logits (B, classes)}."""

    def __init__(self, classes: dict[str, int], sizes: Sizes | None = None, encoders: int = 7) -> None:
        super().__init__()
        c = self.sizes = sizes or Sizes()
        layers = (Encoder(c.d, c.heads, c.ffn, c.ffn_dropout) for _ in range(encoders))
        self.encoders = nn.ModuleList(layers)
        self.heads = nn.ModuleDict({t: nn.Linear(c.n * c.d, k) for t, k in classes.items()})

    def position(self) -> Tensor:
        """Eq. 7 and 8, one number at a time."""
        n, d = self.sizes.n, self.sizes.d
        table = torch.zeros(n, d)
        for pos in range(n):
            for j in range(d):
                angle = pos * 10000 ** (-(j - j % 2) / d)
                table[pos, j] = math.cos(angle) if j % 2 else math.sin(angle)
        return table

    def forward(self, samples: Tensor) -> dict[str, Tensor]:
        c = self.sizes
        z = samples.reshape(-1, c.n, c.d) + self.position().to(samples)
        for encoder in self.encoders:
            z = encoder(z)
        return {t: head(z.flatten(1)) for t, head in self.heads.items()}


class PlainConv(nn.Conv1d):
    """Convolution without padding, batch normalization, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int) -> None:
        super().__init__(c_in, c_out, kernel, stride, bias=False)
        self.norm = nn.BatchNorm1d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(super().forward(x)))


class PlainDense(nn.Linear):
    """Dense layer, batch normalization, ReLU, dropout."""

    def __init__(self, d_in: int, d_out: int, dropout: float) -> None:
        super().__init__(d_in, d_out, bias=False)
        self.norm, self.dropout = nn.BatchNorm1d(d_out), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(F.relu(self.norm(super().forward(x))))


class ReferenceCNN(nn.Module):
    """Dense multi-task 1D-CNN (Sec. 4.3.2): float32 (B, length) -> {task: logits (B, classes)}."""

    def __init__(self, classes: dict[str, int], length: int = 1500, dropout: float = 0.05) -> None:
        super().__init__()
        pooled = ((length - 4) // 3 + 1 - 4) // 2
        self.first, self.second = PlainConv(1, 200, 4, 3), PlainConv(200, 200, 5, 1)
        self.flattened = PlainDense(pooled * 200, 200, dropout)
        self.dense = nn.Sequential(PlainDense(200, 100, dropout), PlainDense(100, 50, dropout))
        self.heads = nn.ModuleDict({t: nn.Linear(50, k) for t, k in classes.items()})

    def forward(self, samples: Tensor) -> dict[str, Tensor]:
        x = F.max_pool1d(self.second(self.first(samples[:, None, :])), 2, 2)
        x = self.dense(self.flattened(x.transpose(1, 2).flatten(1)))
        return {t: head(x) for t, head in self.heads.items()}


def plain_network(name: str, classes: dict[str, int], sizes: Sizes | None = None) -> nn.Module:
    """A reference by the name of its model: ``mtc`` (without the auxiliary task it is MTC-2task),
    ``transformer`` or ``cnn``."""
    sizes = sizes or Sizes()
    if name == "cnn":
        return ReferenceCNN(classes, sizes.n * sizes.d)
    return (ReferenceMTC if name == "mtc" else ReferenceTransformer)(classes, sizes)
