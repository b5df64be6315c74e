"""The multi-task 1D-CNN that MTC is compared with.

Source: Wang, Gao, Lei, IASC 37(1), 2023, Sec. 4.3.2, Fig. 6, after Deep Packet (its reference [21]).
Shape letters: see ``mtc.models.packed.windows``; the comments name the shapes for samples of 1500 bytes.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.networks.base import Network
from mtc.models.networks.heads import Heads
from mtc.models.packed.batch import Layout
from mtc.models.packed.layers import WeightedBatchNorm
from mtc.models.packed.values import Values
from mtc.models.packed.windows import (
    BLOCK,
    KERNEL,
    POOL,
    SECOND_KERNEL,
    STRIDE,
    WindowBatch,
    pack_windows,
    sizes,
)


class CNN(Network):
    """Two convolutions, a max pooling, three dense layers, and heads that all read the last of them.

    Source: Sec. 4.3.2: convolutions with kernel 4, stride 3 and kernel 5, stride 1; pooling 2, stride
    2; dense layers 200, 100, 50 wide, each followed by dropout 0.05. Reading: the channels are Deep
    Packet's, 200 and 200; batch normalization and ReLU follow each convolution and each dense layer.
    """

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        one, two = config.channels
        widths, drop = config.dense_widths, config.dense_dropout
        self.positions = sizes(config.length)  # 499, 495, 247
        self.first = Convolution(1, one, KERNEL)
        self.second = Convolution(one, two, SECOND_KERNEL)
        self.flattened = FlattenedDense(self.positions[2] * two, widths[0], drop)
        self.dense = nn.Sequential(*(Dense(inner, outer, drop) for inner, outer in pairwise(widths)))
        self.heads = Heads({task: nn.Linear(widths[-1], size) for task, size in classes.items()})

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout = "packed") -> WindowBatch:
        """Samples as windows of the first convolution."""
        return pack_windows(data, offsets, self.config.length, layout)

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of a sample's own tokens, each about as much work as three of MTC's."""
        return (live * self.config.width + STRIDE * SECOND_KERNEL) * 3

    def forward_features(self, batch: WindowBatch) -> Tensor:
        """The last dense layer, (B, 50)."""
        first, second = (len(batch) * positions for positions in self.positions[:2])
        x_RC = self.first(batch.windows, batch.first_share, first)  # 499 x 200
        x_RC = self.second(x_RC, batch.second_share, second)  # 495 x 200
        x_PC = torch.maximum(x_RC[0::POOL], x_RC[1::POOL])  # 247 x 200
        x_BC = self.flattened(x_PC, batch)  # 200
        features: Tensor = self.dense(x_BC)  # 100, 50
        return features

    def forward_heads(self, features: Tensor, batch: WindowBatch) -> dict[str, Tensor]:
        """The classification layer: every task on the last dense layer."""
        return {task: head(features).float() for task, head in self.heads.items()}


class Convolution(nn.Module):
    """A convolution without padding, batch normalization, ReLU.

    The parameter has the shape of ``torch.nn.Conv1d``'s, (out, in, kernel), without a bias, which the
    normalization would cancel.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Conv1d(channels_in, channels_out, kernel, bias=False).weight.detach())
        self.norm = WeightedBatchNorm(channels_out)

    def forward(self, x_RC: Tensor, share_R: Tensor, count: int) -> Tensor:
        """(R, windows of 4) or (R, in) -> (rows of ``share_R``, out); they stand for ``count`` positions."""
        if x_RC.shape[1] == self.weight.shape[1] * self.weight.shape[2]:  # the windows stand in the rows
            x_RC = F.linear(x_RC, self.weight.flatten(1))
        else:
            x_RC = _Sliding.apply(x_RC, self.weight)  # type: ignore[no-untyped-call]
        normalised: Tensor = self.norm(x_RC, share_R, count, relu=True)
        return normalised


class Normalised(nn.Module):
    """What the dense layers share: the weight, and batch normalization, ReLU and dropout behind it."""

    def __init__(self, width_in: int, width_out: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(width_in, width_out, bias=False).weight.detach())
        self.norm, self.dropout = WeightedBatchNorm(width_out), dropout

    def normalise(self, x_BC: Tensor) -> Tensor:
        """What follows the product, (B, out) -> (B, out)."""
        if not self.training:
            factor_C, shift_C = self.norm.folded()
            return torch.addcmul(shift_C, x_BC, factor_C).relu_()
        share_B = x_BC.new_full((len(x_BC),), 1.0 / len(x_BC), dtype=self.weight.dtype)
        out: Tensor = self.norm(x_BC, share_B, len(x_BC), relu=True, dropout=self.dropout)
        return out


class Dense(Normalised):
    """A dense layer, batch normalization, ReLU, dropout."""

    def forward(self, x_BC: Tensor) -> Tensor:
        """(B, in) -> (B, out)."""
        return self.normalise(F.linear(x_BC, self.weight))


def _product_dtype(x: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class _Sliding(torch.autograd.Function):
    """A convolution over rows, (R, in) -> (R - kernel + 1, out): a sum of shifted matrix products."""

    @staticmethod
    def forward(ctx: Any, x_RC: Tensor, weight: Tensor) -> Tensor:
        dtype = _product_dtype(x_RC)
        x_RC, shifts = x_RC.to(dtype), weight.to(dtype).unbind(2)
        ctx.save_for_backward(x_RC, weight)
        rows = len(x_RC) - len(shifts) + 1
        out = x_RC[:rows] @ shifts[0].T
        for k, shift in enumerate(shifts[1:], 1):
            out.addmm_(x_RC[k : k + rows], shift.T)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x_RC, weight = ctx.saved_tensors
        grad = grad.to(x_RC.dtype)
        rows, grad_x = len(grad), torch.zeros_like(x_RC)
        grad_weight = torch.empty_like(weight)
        for k, shift in enumerate(weight.to(x_RC.dtype).unbind(2)):
            grad_x[k : k + rows].addmm_(grad, shift)
            grad_weight[:, :, k] = grad.T @ x_RC[k : k + rows]
        return grad_x, grad_weight


class _ReadTable(torch.autograd.Function):
    """(P, C) -> (T, C): each slot reads its pair. No pair stands in two slots, but for that of zeros."""

    @staticmethod
    def forward(ctx: Any, x_PC: Tensor, table: Tensor, live_slots: Tensor, zero_slots: Tensor) -> Tensor:
        ctx.save_for_backward(table, live_slots, zero_slots)
        ctx.pairs = len(x_PC)
        return x_PC.index_select(0, table)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        table, live_slots, zero_slots = ctx.saved_tensors
        grad_x = grad.new_zeros(ctx.pairs, grad.shape[1])
        grad_x.index_copy_(0, table[live_slots], grad.index_select(0, live_slots))
        grad_x[-1] = grad.index_select(0, zero_slots).sum(0)
        return grad_x, None, None, None


class FlattenedDense(Normalised):
    """The dense layer that reads all pooled positions, flattened (247 x 200).

    The columns of its weight are in the order of position, then channel. A sample is multiplied only up
    to the block of positions in which its bytes end; behind it, it equals a sample of zeros.
    """

    def forward(self, x_PC: Tensor, batch: WindowBatch) -> Tensor:
        """(P, C) -> (B, out)."""
        channels = x_PC.shape[1]
        x_TC = _ReadTable.apply(x_PC, batch.table, batch.live_slots, batch.zero_slots)  # type: ignore[no-untyped-call]
        columns = torch.split(self.weight, BLOCK * channels, dim=1)
        slots = [(n + 1) * c.shape[1] // channels for n, c in zip(batch.reached, columns, strict=True)]
        x_BC = x_PC.new_zeros(len(batch), len(self.weight), dtype=_product_dtype(x_PC))
        of_zeros = []
        for x, block, reached in zip(x_TC.split(slots), columns, batch.reached, strict=True):
            product = F.linear(x.reshape(reached + 1, -1), block)
            x_BC = x_BC + F.pad(product[:-1], (0, 0, 0, len(batch) - reached))
            of_zeros.append(product[-1])
        # What a sample of zeros has from each block on: all of it from the first, nothing behind the last.
        blocks = torch.stack([*of_zeros, torch.zeros_like(of_zeros[0])])
        x_BC = x_BC + blocks.flip(0).cumsum(0).flip(0).index_select(0, batch.blocks)
        return self.normalise(x_BC.index_select(0, torch.argsort(batch.order)))
