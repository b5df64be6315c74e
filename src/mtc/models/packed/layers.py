"""Layers on rows and entries: what a convolution, a normalization or a pooling is there.

Each is exactly the layer of the dense network with the same parameters, in evaluation mode and, but
for dropout, in training mode: batch statistics count a row as often as the positions that it stands
for. In training, the positions that share a row share its dropout mask; each keeps its marginal
distribution, the joint one differs (docs/engine.md).

Shape letters: see ``mtc.models.packed.batch``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtc.models.networks.mtc import ConvNorm
from mtc.models.packed import kernels
from mtc.models.packed.batch import PackedBatch


class _Neighbours(torch.autograd.Function):
    """(R, C) -> (R, 3C): each row between its left and its right neighbour, separators read as zero."""

    @staticmethod
    def forward(ctx: Any, x_RC: Tensor, separators: Tensor) -> Tensor:
        rows, channels = x_RC.shape
        ctx.save_for_backward(separators)
        out = x_RC.new_empty(rows, 3 * channels)
        out[:, channels : 2 * channels] = x_RC
        out[1:, :channels] = x_RC[:-1]
        out[:-1, 2 * channels :] = x_RC[1:]
        _zero_separators(out, separators)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (separators,) = ctx.saved_tensors
        channels = grad.shape[1] // 3
        grad = grad.contiguous()
        _zero_separators(grad, separators)
        grad_x = grad[:, channels : 2 * channels].clone()
        grad_x[:-1] += grad[1:, :channels]
        grad_x[1:] += grad[:-1, 2 * channels :]
        return grad_x, None


def _zero_separators(unfolded: Tensor, separators: Tensor) -> None:
    """Zero, in place, separators themselves and what their neighbours read of them."""
    channels = unfolded.shape[1] // 3
    unfolded[separators] = 0
    unfolded[separators[:-1] + 1, :channels] = 0
    unfolded[separators[1:] - 1, 2 * channels :] = 0


class _NormaliseRows(torch.autograd.Function):
    """Batch normalization (statistics weighted), then optionally ReLU and dropout, by the kernels."""

    @staticmethod
    def forward(
        ctx: Any,
        x_RC: Tensor,
        share_R: Tensor,
        scale_C: Tensor,
        shift_C: Tensor,
        eps: float,
        relu: bool,
        dropout: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x_RC = _wide(x_RC).contiguous()
        kernels.use_threads(torch.get_num_threads())
        mean_C, variance_C = map(torch.from_numpy, kernels.statistics(x_RC.numpy(), share_R.numpy()))
        inverse_C = (variance_C + eps).rsqrt()
        seed = int(torch.randint(2**31, ())) if dropout else 0
        out = torch.empty_like(x_RC)
        factor_C = inverse_C * scale_C
        kernels.normalise(
            x_RC.numpy(), mean_C.numpy(), factor_C.numpy(), shift_C.numpy(), relu, dropout, seed, out.numpy()
        )
        ctx.options = relu, dropout, seed
        ctx.save_for_backward(x_RC, share_R, mean_C, inverse_C, scale_C, shift_C)
        ctx.mark_non_differentiable(mean_C, variance_C)
        return out, mean_C, variance_C

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, share, mean, inverse, scale, shift = (tensor.detach().numpy() for tensor in ctx.saved_tensors)
        relu, dropout, seed = ctx.options
        grad = _wide(grad).contiguous()
        grad_x = torch.empty_like(grad)
        sums = kernels.normalise_backward(
            grad.numpy(), x, share, mean, inverse, scale, shift, relu, dropout, seed, grad_x.numpy()
        )
        grad_scale_C, grad_shift_C = map(torch.from_numpy, sums)
        return grad_x, None, grad_scale_C, grad_shift_C, None, None, None


def _wide(x: Tensor) -> Tensor:
    """At least single precision: sums over many rows lose too much in half of it."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def batch_norm(
    norm: nn.BatchNorm1d,
    x_RC: Tensor,
    share_R: Tensor,
    count: int,
    *,
    relu: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Batch normalization whose statistics count row i with weight ``share_R[i]``, (R, C) -> (R, C).

    Args:
        norm: The layer; its running statistics are updated in training mode.
        x_RC: Input.
        share_R: Weights that sum to one.
        count: How many positions the weights stand for (for the unbiased running variance).
        relu: Apply ReLU to the result.
        dropout: Probability of a zero behind that, in training mode.
    """
    if not norm.training:
        factor_C, shift_C = folded(norm)
        scaled = torch.addcmul(shift_C, x_RC, factor_C)
        return scaled.relu() if relu else scaled
    out: Tensor
    with torch.autocast(x_RC.device.type, enabled=False):  # statistics need single precision
        out, mean_C, variance_C = _NormaliseRows.apply(  # type: ignore[no-untyped-call]
            x_RC, share_R, norm.weight, norm.bias, norm.eps, relu, dropout
        )
    with torch.no_grad():
        assert norm.num_batches_tracked is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean_C, norm.momentum)
        norm.running_var.lerp_(variance_C * (count / max(count - 1, 1)), norm.momentum)
    return out


def folded(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Factor and shift (C,) that evaluation mode applies."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor_C = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return factor_C, norm.bias - norm.running_mean * factor_C


def convolve(layer: ConvNorm, x_RC: Tensor, batch: PackedBatch) -> Tensor:
    """``ConvNorm`` as a matrix product over rows, (R, in) -> (R, out)."""
    weight = layer.weight.transpose(1, 2).reshape(layer.weight.shape[0], -1)
    if layer.weight.shape[2] == 3:
        x_RC = _Neighbours.apply(x_RC, batch.separators)  # type: ignore[no-untyped-call]
    if not layer.training:
        factor_C, shift_C = folded(layer.norm)
        x_RC = F.linear(x_RC, weight * factor_C[:, None], shift_C)
        return x_RC.relu_() if layer.relu else x_RC
    x_RC = F.linear(x_RC, weight)
    share_R, count = batch.row_share, batch.positions
    return batch_norm(layer.norm, x_RC, share_R, count, relu=layer.relu, dropout=layer.dropout)


class _MeanOfRows(torch.autograd.Function):
    """(R, C) -> (E, C): weighted mean of each entry's rows."""

    @staticmethod
    def forward(ctx: Any, x_RC: Tensor, row_weight: Tensor, row_entry: Tensor, entry_rows: Tensor) -> Tensor:
        ctx.save_for_backward(row_weight, row_entry)
        rows = torch.arange(len(x_RC), device=x_RC.device)
        return F.embedding_bag(rows, _wide(x_RC), entry_rows, mode="sum", per_sample_weights=row_weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        row_weight, row_entry = ctx.saved_tensors
        return _wide(grad).index_select(0, row_entry).mul_(row_weight[:, None]), None, None, None


def mean_of_rows(x_RC: Tensor, batch: PackedBatch) -> Tensor:
    """Average pooling of positions to tokens, (R, C) -> (E, C)."""
    pooled: Tensor = _MeanOfRows.apply(x_RC, batch.row_weight, batch.row_entry, batch.entry_rows)  # type: ignore[no-untyped-call]
    return pooled


class _SpreadToRows(torch.autograd.Function):
    """(E, C) -> (R, C): each row receives its entry."""

    @staticmethod
    def forward(ctx: Any, x_EC: Tensor, row_entry: Tensor, entry_rows: Tensor) -> Tensor:
        ctx.save_for_backward(entry_rows)
        return x_EC.index_select(0, row_entry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (entry_rows,) = ctx.saved_tensors
        rows = torch.arange(len(grad), device=grad.device)
        return F.embedding_bag(rows, _wide(grad), entry_rows, mode="sum"), None, None


def spread_to_rows(x_EC: Tensor, batch: PackedBatch) -> Tensor:
    """Nearest interpolation of tokens to positions, (E, C) -> (R, C)."""
    spread: Tensor = _SpreadToRows.apply(x_EC, batch.row_entry, batch.entry_rows)  # type: ignore[no-untyped-call]
    return spread
