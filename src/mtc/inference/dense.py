"""The networks in evaluation mode over every position, in PyTorch's plain layers.

The forward of ``mtc.models`` leaves out the work on padding, with gathers and gradients of its own. What
ONNX is to hold, and what gradients are to flow through down to the bytes, is easier to say without: here
a sample is one row of a (B, L) tensor, a convolution is ``torch.nn.Conv1d`` with the batch normalization
folded in, and each branch of MTC has an input of its own, so that what it reads can be distinguished.

Shape letters: B samples, L positions, N tokens, D width of a token, C channels, H heads.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtc.errors import UsageError
from mtc.models import CNN, MTC, Network, Transformer
from mtc.models.networks.cnn import Normalised
from mtc.models.networks.encoder import EncoderLayer
from mtc.models.networks.mtc import Bottleneck, FusedBlock
from mtc.models.packed.layers import ConvNorm, WeightedBatchNorm
from mtc.models.packed.windows import POOL, STRIDE

Logits = dict[str, Tensor]


class DenseForm(nn.Module, ABC):
    """A network over every position: float32 (B, L) in [0, 1] for each branch -> task -> logits (B, classes).

    Attributes:
        branches: Names of the inputs; each is given the same samples.
        attention: Weights of each encoder layer, (B, H, N, N), of the last forward that was asked to keep
            them.
        keep_attention: Whether ``forward`` keeps them.
    """

    branches: tuple[str, ...]

    def __init__(self) -> None:
        super().__init__()
        self.keep_attention = False
        self.attention: list[Tensor] = []

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Logits:
        """Task -> logits, from one input a branch."""

    def _encode(self, layers: nn.ModuleList, z_BND: Tensor) -> Tensor:
        for layer in layers:
            assert isinstance(layer, EncoderLayer)
            z_BND, weights_BHNN = encode(layer, z_BND)
            if self.keep_attention:
                self.attention.append(weights_BHNN.detach())
        return z_BND


def dense_form(network: Network) -> DenseForm:
    """The dense form of a network, with copies of its weights where they are folded.

    Raises:
        UsageError: The network has none: it is shallow, or reads more than bytes.
    """
    forms: dict[type[Network], type[DenseMTC | DenseTransformer | DenseCNN]] = {
        MTC: DenseMTC,
        Transformer: DenseTransformer,
        CNN: DenseCNN,
    }
    for kind, form in forms.items():
        if isinstance(network, kind):
            return form(network).eval()  # type: ignore[arg-type]
    raise UsageError(f"a model of the kind {network.config.name} has no positions and tokens")


class DenseMTC(DenseForm):
    """``mtc.models.MTC``."""

    branches = ("transformer", "cnn")

    def __init__(self, network: MTC) -> None:
        super().__init__()
        self.tokens, self.width = network.config.tokens, network.config.width
        self.pool_tokens = network.config.cnn_pooling == "tokens"
        self.on_tokens, self.heads = network.on_tokens, network.heads
        self.first_encoders = network.block1.encoders
        self.first = DenseBottleneck(network.block1.bottleneck)
        self.fused = nn.ModuleList(DenseFusion(block) for block in (network.block2, network.block3))

    def forward(self, *inputs: Tensor) -> Logits:
        """``inputs`` are those of the Transformer and of the 1D-CNN."""
        tokens_BL, positions_BL = inputs
        z_BND = self._encode(self.first_encoders, tokens_BL.reshape(-1, self.tokens, self.width))
        x_B1L = positions_BL[:, None, :]
        x_BCL = self.first.finish(x_B1L, self.first.local(x_B1L))
        for block in self.fused:
            assert isinstance(block, DenseFusion)
            local_BCL = block.first.local(x_BCL)
            x_BCL = block.first.finish(x_BCL, local_BCL)
            z_BND = self._encode(block.encoders, block.to_tokens(z_BND, local_BCL, self.tokens))
            x_BCL = block.second.finish(x_BCL, block.second.local(x_BCL, block.to_cnn(z_BND, self.width)))
        pooled_BNC = _pool(x_BCL, self.tokens if self.pool_tokens else 1)
        flat = {True: z_BND.flatten(1), False: pooled_BNC.flatten(1)}
        return {task: head(flat[task in self.on_tokens]) for task, head in self.heads.items()}


class DenseTransformer(DenseForm):
    """``mtc.models.Transformer``."""

    branches = ("transformer",)

    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self.register_buffer("encoding", network.encoding)
        self.encoders, self.heads = network.encoders, network.heads

    def forward(self, *inputs: Tensor) -> Logits:
        """``inputs`` is one tensor."""
        encoding_ND = self.get_buffer("encoding")
        z_BND = self._encode(self.encoders, inputs[0].reshape(-1, *encoding_ND.shape) + encoding_ND)
        return {task: head(z_BND.flatten(1)) for task, head in self.heads.items()}


class DenseCNN(DenseForm):
    """``mtc.models.CNN``."""

    branches = ("cnn",)

    def __init__(self, network: CNN) -> None:
        super().__init__()
        self.first = _convolution(network.first.weight, network.first.norm, stride=STRIDE)
        self.second = _convolution(network.second.weight, network.second.norm)
        layers = (network.flattened, *network.dense)
        self.dense = nn.ModuleList(_linear(layer) for layer in layers if isinstance(layer, Normalised))
        self.heads = network.heads

    def forward(self, *inputs: Tensor) -> Logits:
        """``inputs`` is one tensor."""
        x_BCL = self.second(self.first(inputs[0][:, None, :]).relu()).relu()
        x_BC = F.max_pool1d(x_BCL, POOL).transpose(1, 2).flatten(1)
        for layer in self.dense:
            x_BC = layer(x_BC).relu()
        return {task: head(x_BC) for task, head in self.heads.items()}


class DenseBottleneck(nn.Module):
    """``mtc.models.networks.mtc.Bottleneck``."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.reduce, self.middle, self.expand = map(_folded, (block.reduce, block.middle, block.expand))
        self.shortcut = nn.Identity() if block.shortcut is None else _folded(block.shortcut)

    def local(self, x_BCL: Tensor, received_BCL: Tensor | None = None) -> Tensor:
        """Up to the 1x3 convolution, (B, in, L) -> (B, inner, L)."""
        reduced_BCL: Tensor = self.reduce(x_BCL).relu()
        if received_BCL is not None:
            reduced_BCL = reduced_BCL + received_BCL
        local_BCL: Tensor = self.middle(reduced_BCL).relu()
        return local_BCL

    def finish(self, x_BCL: Tensor, local_BCL: Tensor) -> Tensor:
        """The last convolution and the residual, (B, in, L), (B, inner, L) -> (B, outer, L)."""
        summed: Tensor = self.expand(local_BCL) + self.shortcut(x_BCL)
        return summed.relu()


class DenseFusion(nn.Module):
    """``mtc.models.networks.mtc.FusedBlock``, but for the order in which its parts run."""

    def __init__(self, block: FusedBlock) -> None:
        super().__init__()
        self.first, self.second = DenseBottleneck(block.first), DenseBottleneck(block.second)
        self.merge_norm, self.encoders, self.down = block.merge_norm, block.encoders, block.down
        self.up = None if block.up is None else _fold(block.up.project.weight, block.up.norm)

    def to_tokens(self, z_BND: Tensor, local_BCL: Tensor, tokens: int) -> Tensor:
        """Merge what the 1D-CNN found into the tokens, (B, N, D)."""
        if self.down is not None:
            z_BND = z_BND + self.down.norm(self.down.project(_pool(local_BCL, tokens)))
        merged: Tensor = self.merge_norm(z_BND)
        return merged

    def to_cnn(self, z_BND: Tensor, width: int) -> Tensor | None:
        """What goes back to the positions, (B, inner, L): a token to each of its ``width`` positions."""
        if self.up is None:
            return None
        up_BCN = self.up(z_BND).transpose(1, 2)
        spread: Tensor = up_BCN[:, :, :, None].expand(-1, -1, -1, width).flatten(2)
        return spread


def encode(layer: EncoderLayer, z_BND: Tensor) -> tuple[Tensor, Tensor]:
    """One encoder layer: tokens (B, N, D), and its attention weights (B, H, N, N)."""
    attention = layer.attention
    heads = (-1, z_BND.shape[1], attention.heads, attention.head_width)
    q_BHNW, k_BHNW, v_BHNW = (
        projection(z_BND).reshape(heads).transpose(1, 2)
        for projection in (attention.query, attention.key, attention.value)
    )
    logits_BHNN = q_BHNW @ (k_BHNW * attention.head_width**-0.5).transpose(2, 3)
    weights_BHNN = logits_BHNN.softmax(3)
    seen_BND = (weights_BHNN @ v_BHNW).transpose(1, 2).flatten(2)
    z_BND = layer.attention_norm(z_BND + attention.merge(seen_BND))
    return layer.ffn_norm(z_BND + layer.outer(layer.inner(z_BND).relu())), weights_BHNN


def _pool(x_BCL: Tensor, tokens: int) -> Tensor:
    """Average of each token's positions, (B, C, L) -> (B, N, C)."""
    return F.avg_pool1d(x_BCL, x_BCL.shape[2] // tokens).transpose(1, 2)


def _folded(layer: ConvNorm) -> nn.Conv1d:
    return _convolution(layer.weight, layer.norm, padding=layer.kernel // 2)


def _convolution(weight: Tensor, norm: WeightedBatchNorm, *, stride: int = 1, padding: int = 0) -> nn.Conv1d:
    """A convolution (out, in, kernel) with the batch normalization behind it folded in."""
    channels_out, channels_in, kernel = weight.shape
    convolution = nn.Conv1d(channels_in, channels_out, kernel, stride=stride, padding=padding)
    factor_C, shift_C = norm.folded()
    _set(convolution, weight * factor_C[:, None, None], shift_C)
    return convolution


def _fold(weight: Tensor, norm: WeightedBatchNorm) -> nn.Linear:
    """A dense layer (out, in) with the batch normalization behind it folded in."""
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    factor_C, shift_C = norm.folded()
    _set(linear, weight * factor_C[:, None], shift_C)
    return linear


def _linear(layer: Normalised) -> nn.Linear:
    return _fold(layer.weight, layer.norm)


@torch.no_grad()
def _set(layer: nn.Conv1d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    assert layer.bias is not None
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
