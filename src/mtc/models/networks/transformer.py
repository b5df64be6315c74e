"""The multi-task Transformer that MTC is compared with.

Source: Wang, Gao, Lei, IASC 37(1), 2023, Sec. 4.3.1, Fig. 5, after MTT (its reference [13]). The
embedding and the encoder are MTC's; new is the positional encoding. Shape letters: see
``mtc.models.packed.batch``; the comments name the shapes for n x d = 30 x 50.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.networks.base import Network
from mtc.models.networks.encoder import embed, encoder_layers
from mtc.models.networks.heads import Heads
from mtc.models.packed.batch import COPIES, Layout, PackedBatch, pack_samples
from mtc.models.packed.plan import DataFlow
from mtc.models.packed.values import Values


def positional_encoding(tokens: int, width: int) -> Tensor:
    """Sine and cosine of a token's place, float32 (N, D).

    Source: Eq. 7 and 8: PE(pos, 2i) = sin(pos * 10000^(-2i/d)), PE(pos, 2i + 1) = cos of the same.
    """
    place_N1 = torch.arange(tokens, dtype=torch.float64)[:, None]
    even_H = torch.arange(0, width, 2, dtype=torch.float64)
    angle_NH = place_N1 * 10000 ** (-even_H / width)
    encoding_ND = torch.stack([angle_NH.sin(), angle_NH.cos()], dim=2).flatten(1)[:, :width]
    return encoding_ND.float()


class Transformer(Network):
    """Embedding, positional encoding, encoder layers, and heads that all read the flattened tokens."""

    encoding: Tensor

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        encoding_ND = positional_encoding(config.tokens, config.width)
        self.register_buffer("encoding", encoding_ND, persistent=False)
        self.encoders = encoder_layers(config, config.encoders)
        self.heads = Heads({task: nn.Linear(config.length, size) for task, size in classes.items()})

    def data_flow(self, layout: Layout = "packed") -> DataFlow:
        """Tokens know their place, so that none equals another; positions, which do, have no dropout."""
        copies = COPIES["packed" if layout == "copied" else layout]
        return DataFlow(self.config.tokens, self.config.width, ("place",), copies)

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout = "packed") -> PackedBatch:
        """Samples as entries, one for every token."""
        return pack_samples(data, offsets, self.data_flow(layout))

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """All of them, whatever the sample's length."""
        return np.full_like(live, self.config.length)

    def forward_features(self, batch: PackedBatch) -> Tensor:
        """Tokens behind the last encoder, (B * N, D)."""
        z_ED = embed(batch, self.config.width)  # 30 x 50
        z_ED = z_ED + self.encoding.repeat(len(batch), 1)  # 30 x 50
        for encoder in self.encoders:
            z_ED = encoder(z_ED, batch)  # 30 x 50
        return z_ED

    def forward_heads(self, features: Tensor, batch: PackedBatch) -> dict[str, Tensor]:
        """The classification layer: every task on the flattened tokens."""
        tokens = features.reshape(len(batch), -1)  # 1500
        return {task: head(tokens).float() for task, head in self.heads.items()}
