"""The multi-task 1D-CNN that MTC is compared with.

Source: Wang, Gao, Lei, IASC 37(1), 2023, Sec. 4.3.2, Fig. 6, after Deep Packet (its reference [21]).
B samples, L positions, C channels; the comments name the shapes for samples of 1500 bytes.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.networks.base import Heads, Logits, Network

KERNEL, STRIDE = 4, 3
"""The first convolution."""

SECOND_KERNEL = 5
"""The second convolution, stride 1."""

POOL = 2
"""Max pooling, stride the same."""


def sizes(length: int) -> tuple[int, int, int]:
    """Positions behind the first convolution, the second and the pooling, of ``length`` values."""
    first = (length - KERNEL) // STRIDE + 1
    second = first - SECOND_KERNEL + 1
    return first, second, second // POOL


class Convolution(nn.Conv1d):
    """A convolution without padding, batch normalization, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, bias=False)
        self.norm = nn.BatchNorm1d(channels_out)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """(B, in, L) -> (B, out, fewer positions)."""
        normalised: Tensor = self.norm(super().forward(x_BCL))
        return normalised.relu()


class Dense(nn.Linear):
    """A dense layer, batch normalization, ReLU, dropout."""

    def __init__(self, width_in: int, width_out: int, dropout: float) -> None:
        super().__init__(width_in, width_out, bias=False)
        self.norm, self.dropout = nn.BatchNorm1d(width_out), dropout

    def forward(self, x_BC: Tensor) -> Tensor:
        """(B, in) -> (B, out)."""
        normalised: Tensor = self.norm(super().forward(x_BC))
        return F.dropout(normalised.relu(), self.dropout, self.training)


class CNN(Network):
    """Two convolutions, a max pooling, three dense layers, and heads that all read the last of them.

    Source: Sec. 4.3.2: convolutions with kernel 4, stride 3 and kernel 5, stride 1; pooling 2, stride
    2; dense layers 200, 100, 50 wide, each followed by dropout 0.05. Reading: the channels are Deep
    Packet's, 200 and 200; batch normalization and ReLU follow each convolution and each dense layer.
    """

    branches = ("cnn",)

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        one, two = config.channels
        widths, drop = config.dense_widths, config.dense_dropout
        self.first = Convolution(1, one, KERNEL, STRIDE)
        self.second = Convolution(one, two, SECOND_KERNEL)
        self.flattened = Dense(sizes(config.length)[2] * two, widths[0], drop)
        self.dense = nn.Sequential(*(Dense(inner, outer, drop) for inner, outer in pairwise(widths)))
        self.heads = Heads({task: nn.Linear(widths[-1], size) for task, size in classes.items()})

    def forward(self, samples_BL: Tensor) -> Logits:
        """Task -> logits, (B, classes), of float32 (B, L) in [0, 1]."""
        x_BCL = self.first(samples_BL[:, None, :])  # 499 x 200
        x_BCL = self.second(x_BCL)  # 495 x 200
        x_BCL = F.max_pool1d(x_BCL, POOL)  # 247 x 200
        x_BC = self.flattened(x_BCL.transpose(1, 2).flatten(1))  # 200; read position by position
        x_BC = self.dense(x_BC)  # 100, 50
        return {task: head(x_BC).float() for task, head in self.heads.items()}
