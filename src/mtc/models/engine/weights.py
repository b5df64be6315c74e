"""The weights of PyTorch's layers as the engine's: normalizations folded in."""

import numpy as np
from torch import Tensor, nn

from mtc.models.engine.store import Floats
from mtc.models.packed.layers import ConvNorm, WeightedBatchNorm


def array(tensor: Tensor) -> Floats:
    """The numbers of a tensor."""
    values: Floats = tensor.detach().float().cpu().numpy()
    return values


def affine(layer: nn.LayerNorm | nn.Linear) -> tuple[Floats, Floats]:
    """Factors and shifts of a layer."""
    return array(layer.weight), array(layer.bias)


def folded(layer: ConvNorm) -> tuple[list[Floats], Floats]:
    """Weights of a convolution, one block a tap, and the shift of the normalization folded into it."""
    factor, shift = (array(part) for part in layer.norm.folded())
    taps = array(layer.weight) * factor[:, None, None]
    return [np.ascontiguousarray(taps[:, :, i]) for i in range(taps.shape[2])], shift


def folded_linear(project: nn.Linear, norm: WeightedBatchNorm) -> tuple[list[Floats], Floats]:
    """The same of a linear layer without bias."""
    factor, shift = (array(part) for part in norm.folded())
    return [array(project.weight) * factor[:, None]], shift
