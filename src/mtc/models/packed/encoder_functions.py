"""The encoder's feed-forward layers for training on the CPU, around the kernels."""

from typing import Any

import torch
from torch import Tensor, nn

from mtc.models.packed import encoder_kernels, kernels


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
        encoder_kernels.relu_dropout(hidden.numpy(), dropout, seed)
        ctx.save_for_backward(z_ED, hidden, weight1, weight2)
        ctx.dropout = dropout
        return torch.addmm(bias2, hidden, weight2.T)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z_ED, hidden, weight1, weight2 = ctx.saved_tensors
        grad_hidden = grad @ weight2
        sums = encoder_kernels.relu_dropout_backward(grad_hidden.numpy(), hidden.numpy(), ctx.dropout)
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
