"""The multi-task Transformer that MTC is compared with.

Source: Wang, Gao, Lei, IASC 37(1), 2023, Sec. 4.3.1, Fig. 5, after MTT (its reference [13]). The
embedding and the encoder are MTC's; new is the positional encoding. B samples, L positions, N tokens,
D width of a token; the comments name the shapes for n x d = 30 x 50.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.networks.base import Heads, Logits, Network
from mtc.models.networks.encoder import encoder_layers


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

    branches = ("transformer",)

    encoding: Tensor

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        encoding_ND = positional_encoding(config.tokens, config.width)
        self.register_buffer("encoding", encoding_ND, persistent=False)
        self.encoders = encoder_layers(config, config.encoders)
        self.heads = Heads({task: nn.Linear(config.length, size) for task, size in classes.items()})

    def forward(self, samples_BL: Tensor) -> Logits:
        """Task -> logits, (B, classes), of float32 (B, L) in [0, 1]."""
        z_BND = samples_BL.reshape(-1, self.config.tokens, self.config.width)  # 30 x 50
        z_BND = z_BND + self.encoding  # 30 x 50
        z_BND = self.encoders(z_BND)  # 30 x 50
        tokens = z_BND.flatten(1)  # 1500
        return {task: head(tokens).float() for task, head in self.heads.items()}
