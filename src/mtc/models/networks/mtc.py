"""MTC: a Transformer branch and a 1D-CNN branch that exchange features; heads on either branch.

Source: Wang, Gao, Lei, IASC 37(1), 2023, Sec. 3.3, Table 3, Fig. 3 and 4. docs/paper.md lists what the text
leaves open and how it is read here. This is the plain network, every position of every sample; what trains
and classifies faster on a CPU (``mtc.models.packed``, ``mtc.models.engine``) is checked against it.

B samples, L positions, N tokens, D width of a token, C channels; the comments name the shapes for
n x d = 30 x 50.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.networks.base import Heads, Logits, Network
from mtc.models.networks.encoder import encoder_layers

CNN_WIDTHS = ((50, 100), (50, 100), (100, 200))
"""Inner and outer width of the bottlenecks of CNN blocks 1, 2 and 3. Source: Table 3."""


class ConvNorm(nn.Conv1d):
    """1x1 or 1x3 convolution (stride 1, zero padding), batch normalization, ReLU, dropout.

    Source: Sec. 3.3.3. No bias, which the normalization would cancel.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, dropout: float, *, relu: bool = True
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(channels_out)
        self.relu, self.dropout = relu, dropout

    def forward(self, x_BCL: Tensor) -> Tensor:
        """(B, in, L) -> (B, out, L)."""
        x_BCL = self.norm(super().forward(x_BCL))
        return F.dropout(x_BCL.relu() if self.relu else x_BCL, self.dropout, self.training)


class Bottleneck(nn.Module):
    """1x1, 1x3, 1x1 convolutions with a residual connection.

    Source: Sec. 3.3.3, Fig. 4c. Reading: the last ReLU follows the residual sum, the last dropout
    stands before it; the residual is a 1x1 convolution with batch normalization where the width
    changes.
    """

    def __init__(self, channels_in: int, inner: int, outer: int, dropout: float) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels_in, inner, 1, dropout)
        self.middle = ConvNorm(inner, inner, 3, dropout)
        self.expand = ConvNorm(inner, outer, 1, dropout, relu=False)
        self.shortcut = ConvNorm(channels_in, outer, 1, 0.0, relu=False) if channels_in != outer else None

    def local(self, x_BCL: Tensor, received_BCL: Tensor | None = None) -> Tensor:
        """Up to the 1x3 convolution; ``received_BCL`` is added before it. (B, in, L) -> (B, inner, L)."""
        reduced_BCL: Tensor = self.reduce(x_BCL)
        if received_BCL is not None:
            reduced_BCL = reduced_BCL + received_BCL
        local_BCL: Tensor = self.middle(reduced_BCL)
        return local_BCL

    def finish(self, x_BCL: Tensor, local_BCL: Tensor) -> Tensor:
        """The last convolution and the residual. (B, in, L), (B, inner, L) -> (B, outer, L)."""
        residual_BCL = x_BCL if self.shortcut is None else self.shortcut(x_BCL)
        summed: Tensor = self.expand(local_BCL) + residual_BCL
        return summed.relu()


class CnnToTokens(nn.Module):
    """Fusion, CNN to Transformer: 1x1 convolution to d, average pooling 1500 -> n, LayerNorm.

    Source: Sec. 3.3.4, Fig. 4b.
    """

    def __init__(self, channels: int, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.project = nn.Linear(channels, width)  # at each position: a 1x1 convolution
        self.norm = nn.LayerNorm(width)

    def forward(self, local_BCL: Tensor) -> Tensor:
        """(B, C, L) -> (B, N, D)."""
        projected_BLD = self.project(local_BCL.transpose(1, 2))  # 1500 x 50
        received: Tensor = self.norm(pool(projected_BLD.transpose(1, 2), self.tokens))  # 30 x 50
        return received


class TokensToCnn(nn.Module):
    """Fusion, Transformer to CNN: 1x1 convolution to the inner width, interpolation, BatchNorm.

    Source: Sec. 3.3.4, Fig. 4b. Reading: nearest interpolation, which repeats a token d times.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, z_BND: Tensor) -> Tensor:
        """(B, N, D) -> (B, C, L)."""
        up_BCN = self.project(z_BND).transpose(1, 2)  # 30 x 50, in block 3 30 x 100
        # Each token at its d positions: nearest interpolation by a whole number.
        up_BCL = up_BCN[:, :, :, None].expand(-1, -1, -1, z_BND.shape[2]).flatten(2)  # 1500 x 50, 1500 x 100
        received: Tensor = self.norm(up_BCL)
        return received


def pool(x_BCL: Tensor, tokens: int) -> Tensor:
    """Average of the positions of each token, (B, C, L) -> (B, N, C)."""
    return F.avg_pool1d(x_BCL, x_BCL.shape[2] // tokens).transpose(1, 2)


class FirstBlock(nn.Module):
    """Layer 1 of Table 3: the branches side by side, nothing to exchange yet (Sec. 3.3.1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inner, outer = CNN_WIDTHS[0]
        self.encoders = encoder_layers(config, config.repetitions[0])
        self.bottleneck = Bottleneck(1, inner, outer, config.cnn_dropout)

    def forward(self, z_BND: Tensor, x_BCL: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D), (B, 1, L) -> (B, N, D), (B, 100, L)."""
        z_BND = self.encoders(z_BND)  # 30 x 50
        local_BCL = self.bottleneck.local(x_BCL)  # 1500 x 50
        x_BCL = self.bottleneck.finish(x_BCL, local_BCL)  # 1500 x 100
        return z_BND, x_BCL


class FusedBlock(nn.Module):
    """Layers 2 and 3 of Table 3: the CNN's local features go over to the tokens, theirs come back.

    Source: Sec. 3.3.2 to 3.3.4, Fig. 4.
    """

    def __init__(self, config: ModelConfig, number: int) -> None:
        """Args: the model's settings, and which block (2 or 3)."""
        super().__init__()
        channels_in = CNN_WIDTHS[number - 2][1]
        inner, outer = CNN_WIDTHS[number - 1]
        self.first = Bottleneck(channels_in, inner, outer, config.cnn_dropout)
        self.merge_norm = nn.LayerNorm(config.width)
        self.encoders = encoder_layers(config, config.repetitions[number - 1])
        self.second = Bottleneck(outer, inner, outer, config.cnn_dropout)
        self.down = CnnToTokens(inner, config.tokens, config.width) if config.fusion else None
        self.up = TokensToCnn(config.width, inner) if config.fusion else None

    def forward(self, z_BND: Tensor, x_BCL: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D), (B, in, L) -> (B, N, D), (B, outer, L)."""
        local_BCL = self.first.local(x_BCL)  # 1500 x 50, in block 3 1500 x 100
        x_BCL = self.first.finish(x_BCL, local_BCL)  # 1500 x 100, 1500 x 200

        if self.down is not None:
            z_BND = z_BND + self.down(local_BCL)
        z_BND = self.merge_norm(z_BND)  # "merged and normalized"
        z_BND = self.encoders(z_BND)  # 30 x 50

        received_BCL = None if self.up is None else self.up(z_BND)
        local_BCL = self.second.local(x_BCL, received_BCL)  # 1500 x 50, 1500 x 100
        x_BCL = self.second.finish(x_BCL, local_BCL)  # 1500 x 100, 1500 x 200
        return z_BND, x_BCL


class MTC(Network):
    """The multi-task model of the paper.

    Attributes:
        on_tokens: Tasks that are read from the Transformer branch; the others are read from the CNN branch.
    """

    branches = ("transformer", "cnn")

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        self.block1 = FirstBlock(config)
        self.block2 = FusedBlock(config, 2)
        self.block3 = FusedBlock(config, 3)

        self.on_tokens = config.tasks_on_tokens(classes)
        channels = CNN_WIDTHS[2][1] * (config.tokens if config.cnn_pooling == "tokens" else 1)
        inputs = {task: config.length if task in self.on_tokens else channels for task in classes}
        self.heads = Heads({task: nn.Linear(inputs[task], classes[task]) for task in classes})

    def forward(self, samples_BL: Tensor, for_cnn_BL: Tensor | None = None) -> Logits:
        """Task -> logits, (B, classes), of float32 (B, L) in [0, 1].

        ``for_cnn_BL`` is what the CNN branch reads, where that is not the same: explanations distinguish the
        branches apart.
        """
        z_BND = samples_BL.reshape(-1, self.config.tokens, self.config.width)  # 30 x 50
        x_BCL = (samples_BL if for_cnn_BL is None else for_cnn_BL)[:, None, :]  # 1500 x 1

        z_BND, x_BCL = self.block1(z_BND, x_BCL)  # 30 x 50; 1500 x 100
        z_BND, x_BCL = self.block2(z_BND, x_BCL)  # 30 x 50; 1500 x 100
        z_BND, x_BCL = self.block3(z_BND, x_BCL)  # 30 x 50; 1500 x 200

        # The classification layer (Sec. 3.3.5): application on the tokens, the others on the CNN.
        tokens = z_BND.flatten(1)  # 1500
        by_token = self.config.cnn_pooling == "tokens"
        local = pool(x_BCL, self.config.tokens if by_token else 1).flatten(1)  # 30 x 200, or 200
        return {
            task: head(tokens if task in self.on_tokens else local).float()
            for task, head in self.heads.items()
        }
