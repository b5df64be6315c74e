"""MTC: a Transformer branch and a 1D-CNN branch that exchange features; heads on either branch.

Source: Wang, Gao, Lei, IASC 37(1), 2023, Sec. 3.3, Table 3, Fig. 3 and 4. docs/paper.md lists what
the text leaves open and how it is read here. Shape letters: see ``mtc.models.packed.batch``; the comments
name the dense shapes for n x d = 30 x 50.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.networks.base import Network
from mtc.models.networks.encoder import embed, encoder_layers
from mtc.models.networks.heads import Heads
from mtc.models.packed.batch import COPIES, Layout, PackedBatch, pack_samples
from mtc.models.packed.layers import ConvNorm, WeightedBatchNorm, mean_of_rows, spread_to_rows
from mtc.models.packed.plan import DataFlow, plan_for
from mtc.models.packed.values import Values

CNN_WIDTHS = ((50, 100), (50, 100), (100, 200))
"""Inner and outer width of the bottlenecks of CNN blocks 1, 2 and 3. Source: Table 3."""

Features = tuple[Tensor, Tensor]
"""What leaves the branches: tokens (E, D) and the CNN's rows (R, C)."""


class Bottleneck(nn.Module):
    """1x1, 1x3, 1x1 convolutions with a residual connection.

    Source: Sec. 3.3.3, Fig. 4c. Reading: the last ReLU follows the residual sum, the last dropout
    stands before it; the residual is a 1x1 convolution with batch normalization where the width
    changes.
    """

    def __init__(self, channels_in: int, inner: int, outer: int, dropout: float) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels_in, inner, 1, dropout=dropout)
        self.middle = ConvNorm(inner, inner, 3, dropout=dropout)
        self.expand = ConvNorm(inner, outer, 1, relu=False, dropout=dropout)
        self.shortcut = ConvNorm(channels_in, outer, 1, relu=False) if channels_in != outer else None

    def local(self, x_RC: Tensor, batch: PackedBatch, received_RC: Tensor | None = None) -> Tensor:
        """Up to the 1x3 convolution; ``received_RC`` is added before it. (R, in) -> (R, inner)."""
        reduced_RC = self.reduce(x_RC, batch)
        if received_RC is not None:
            reduced_RC = reduced_RC + received_RC
        local_RC: Tensor = self.middle(reduced_RC, batch)
        return local_RC

    def finish(self, x_RC: Tensor, local_RC: Tensor, batch: PackedBatch) -> Tensor:
        """The last convolution and the residual. (R, in), (R, inner) -> (R, outer)."""
        residual_RC = x_RC if self.shortcut is None else self.shortcut(x_RC, batch)
        summed: Tensor = self.expand(local_RC, batch) + residual_RC
        return summed.relu_()


class CnnToTokens(nn.Module):
    """Fusion, CNN to Transformer: 1x1 convolution to d, average pooling 1500 -> n, LayerNorm.

    Source: Sec. 3.3.4, Fig. 4b. The pooling comes first: it commutes with a 1x1 convolution, which
    then runs on n tokens instead of n x d positions.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, local_RC: Tensor, batch: PackedBatch) -> Tensor:
        """(R, C) -> (E, D)."""
        received: Tensor = self.norm(self.project(mean_of_rows(local_RC, batch)))
        return received


class TokensToCnn(nn.Module):
    """Fusion, Transformer to CNN: 1x1 convolution to the inner width, interpolation, BatchNorm.

    Source: Sec. 3.3.4, Fig. 4b. Reading: nearest interpolation, which repeats a token d times and so
    commutes with both neighbours; it comes last, where it costs least.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, channels, bias=False)
        self.norm = WeightedBatchNorm(channels)

    def forward(self, z_ED: Tensor, batch: PackedBatch) -> Tensor:
        """(E, D) -> (R, C)."""
        share_E = batch.entry_multiplicity / batch.token_entry.numel()
        up_EC = self.norm(self.project(z_ED), share_E, batch.positions)
        return spread_to_rows(up_EC, batch)


class FirstBlock(nn.Module):
    """Layer 1 of Table 3: the branches side by side, nothing to exchange yet (Sec. 3.3.1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inner, outer = CNN_WIDTHS[0]
        self.encoders = encoder_layers(config, config.repetitions[0])
        self.bottleneck = Bottleneck(1, inner, outer, config.cnn_dropout)

    def forward(self, z_ED: Tensor, x_RC: Tensor, batch: PackedBatch) -> Features:
        """(E, D), (R, 1) -> (E, D), (R, 100)."""
        for encoder in self.encoders:
            z_ED = encoder(z_ED, batch)  # 30 x 50
        local_RC = self.bottleneck.local(x_RC, batch)  # 1500 x 50
        x_RC = self.bottleneck.finish(x_RC, local_RC, batch)  # 1500 x 100
        return z_ED, x_RC


class FusedBlock(nn.Module):
    """Layers 2 and 3 of Table 3: the CNN's local features go over to the tokens, theirs come back.

    Source: Sec. 3.3.2 to 3.3.4, Fig. 4.
    """

    def __init__(self, config: ModelConfig, number: int) -> None:
        super().__init__()
        channels_in = CNN_WIDTHS[number - 2][1]
        inner, outer = CNN_WIDTHS[number - 1]
        self.first = Bottleneck(channels_in, inner, outer, config.cnn_dropout)
        self.merge_norm = nn.LayerNorm(config.width)
        self.encoders = encoder_layers(config, config.repetitions[number - 1])
        self.second = Bottleneck(outer, inner, outer, config.cnn_dropout)
        self.down = CnnToTokens(inner, config.width) if config.fusion else None
        self.up = TokensToCnn(config.width, inner) if config.fusion else None

    def forward(self, z_ED: Tensor, x_RC: Tensor, batch: PackedBatch) -> Features:
        """(E, D), (R, in) -> (E, D), (R, outer)."""
        local_RC = self.first.local(x_RC, batch)  # 1500 x 50, in block 3 1500 x 100
        x_RC = self.first.finish(x_RC, local_RC, batch)  # 1500 x 100, 1500 x 200

        if self.down is not None:
            z_ED = z_ED + self.down(local_RC, batch)
        z_ED = self.merge_norm(z_ED)  # "merged and normalized"
        for encoder in self.encoders:
            z_ED = encoder(z_ED, batch)  # 30 x 50

        received_RC = None if self.up is None else self.up(z_ED, batch)
        local_RC = self.second.local(x_RC, batch, received_RC)  # 1500 x 50, 1500 x 100
        x_RC = self.second.finish(x_RC, local_RC, batch)  # 1500 x 100, 1500 x 200
        return z_ED, x_RC


class MTC(Network):
    """The multi-task model of the paper."""

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        self.block1 = FirstBlock(config)
        self.block2 = FusedBlock(config, 2)
        self.block3 = FusedBlock(config, 3)

        on_tokens = [task for task in classes if task in config.transformer_tasks] or [next(iter(classes))]
        channels = CNN_WIDTHS[2][1] * (config.tokens if config.cnn_pooling == "tokens" else 1)
        inputs = {task: config.length if task in on_tokens else channels for task in classes}
        self.on_tokens = frozenset(on_tokens)
        self.heads = Heads({task: nn.Linear(inputs[task], classes[task]) for task in classes})

    def data_flow(self, layout: Layout = "packed") -> DataFlow:
        """Where positions and tokens take in others: what padding can be left out (docs/engine.md)."""
        fused = ("conv", "down", "up", "conv") if self.config.fusion else ("conv", "conv")
        return DataFlow(self.config.tokens, self.config.width, ("conv", *fused, *fused), COPIES[layout])

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout = "packed") -> PackedBatch:
        """Samples as rows and entries."""
        return pack_samples(data, offsets, self.data_flow(layout))

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of a sample: those of its own tokens, and a few that stand for the padding."""
        padding = len(plan_for(self.data_flow(), 0).position)
        return np.minimum(live * self.config.width + padding, self.config.length)

    def forward_features(self, batch: PackedBatch) -> Features:
        """The three blocks of both branches."""
        z_ED, x_RC = embed(batch, self.config.width), batch.values  # 30 x 50; 1500 x 1
        z_ED, x_RC = self.block1(z_ED, x_RC, batch)  # 30 x 50; 1500 x 100
        z_ED, x_RC = self.block2(z_ED, x_RC, batch)  # 30 x 50; 1500 x 100
        z_ED, x_RC = self.block3(z_ED, x_RC, batch)  # 30 x 50; 1500 x 200
        return z_ED, x_RC

    def forward_heads(self, features: Features, batch: PackedBatch) -> dict[str, Tensor]:
        """The classification layer (Sec. 3.3.5): application on the tokens, the others on the CNN."""
        z_ED, x_RC = features
        tokens = z_ED[batch.token_entry].flatten(1)  # 1500
        local = mean_of_rows(x_RC, batch)[batch.token_entry]  # 30 x 200
        local = local.flatten(1) if self.config.cnn_pooling == "tokens" else local.mean(1)
        return {
            task: head(tokens if task in self.on_tokens else local).float()
            for task, head in self.heads.items()
        }
