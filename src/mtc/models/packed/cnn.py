"""The packed form of the multi-task 1D-CNN, on windows: what padding leaves equal is computed once.

Shape letters: see ``mtc.models.packed.windows``.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mtc.models.networks.cnn import CNN, POOL, SECOND_KERNEL, STRIDE, Convolution, Dense, sizes
from mtc.models.packed.layers import batch_norm, folded
from mtc.models.packed.values import Layout, Values
from mtc.models.packed.windows import BLOCK, WindowBatch, pack_windows


class PackedCNN:
    """``mtc.models.CNN``."""

    def __init__(self, network: CNN) -> None:
        self._network = network

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout) -> WindowBatch:
        """Samples as windows of the first convolution; no copies, for dropout comes after the padding."""
        return pack_windows(data, offsets, self._network.config.length)

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of a sample's own tokens, each about as much work as three of MTC's."""
        return (live * self._network.config.width + STRIDE * SECOND_KERNEL) * 3

    def logits(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Task -> logits, float32 (B, classes)."""
        network = self._network
        first, second, _ = sizes(network.config.length)
        x_RC = F.linear(batch.windows, network.first.weight.flatten(1))
        x_RC = _normalise(network.first, x_RC, batch.first_share, len(batch) * first)
        x_RC = _Sliding.apply(x_RC, network.second.weight)  # type: ignore[no-untyped-call]
        x_RC = _normalise(network.second, x_RC, batch.second_share, len(batch) * second)
        x_PC = torch.maximum(x_RC[0::POOL], x_RC[1::POOL])
        x_BC = _flattened(network.flattened, x_PC, batch)
        for layer in network.dense:
            assert isinstance(layer, Dense)
            x_BC = activate(layer, F.linear(x_BC, layer.weight))
        return {task: head(x_BC).float() for task, head in network.heads.items()}


def _normalise(layer: Convolution, x_RC: Tensor, share_R: Tensor, count: int) -> Tensor:
    return batch_norm(layer.norm, x_RC, share_R, count, relu=True)


def activate(layer: Dense, x_BC: Tensor) -> Tensor:
    """What follows the product of a dense layer, (B, out) -> (B, out)."""
    if not layer.training:
        factor_C, shift_C = folded(layer.norm)
        return torch.addcmul(shift_C, x_BC, factor_C).relu_()
    share_B = x_BC.new_full((len(x_BC),), 1.0 / len(x_BC), dtype=layer.weight.dtype)
    return batch_norm(layer.norm, x_BC, share_B, len(x_BC), relu=True, dropout=layer.dropout)


def _flattened(layer: Dense, x_PC: Tensor, batch: WindowBatch) -> Tensor:
    """The dense layer that reads all pooled positions, (P, C) -> (B, out).

    The columns of its weight are in the order of position, then channel. A sample is multiplied only up
    to the block of positions in which its bytes end; behind it, it equals a sample of zeros.
    """
    channels = x_PC.shape[1]
    x_TC = _ReadTable.apply(x_PC, batch.table, batch.live_slots, batch.zero_slots)  # type: ignore[no-untyped-call]
    columns = torch.split(layer.weight, BLOCK * channels, dim=1)
    slots = [(n + 1) * c.shape[1] // channels for n, c in zip(batch.reached, columns, strict=True)]
    x_BC = x_PC.new_zeros(len(batch), len(layer.weight), dtype=_product_dtype(x_PC))
    of_zeros = []
    for x, block, reached in zip(x_TC.split(slots), columns, batch.reached, strict=True):
        product = F.linear(x.reshape(reached + 1, -1), block)
        x_BC = x_BC + F.pad(product[:-1], (0, 0, 0, len(batch) - reached))
        of_zeros.append(product[-1])
    # What a sample of zeros has from each block on: all of it from the first, nothing behind the last.
    blocks = torch.stack([*of_zeros, torch.zeros_like(of_zeros[0])])
    x_BC = x_BC + blocks.flip(0).cumsum(0).flip(0).index_select(0, batch.blocks)
    return activate(layer, x_BC.index_select(0, torch.argsort(batch.order)))


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
