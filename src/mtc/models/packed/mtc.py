"""The packed form of MTC, on rows and entries: training and evaluation without the work on padding.

Shape letters: see ``mtc.models.packed.batch``.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtc.models.networks.mtc import (
    MTC,
    Bottleneck,
    CnnToTokens,
    FirstBlock,
    FusedBlock,
    TokensToCnn,
)
from mtc.models.packed.batch import PackedBatch, pack_samples
from mtc.models.packed.encoder import encode
from mtc.models.packed.layers import batch_norm, convolve, mean_of_rows, spread_to_rows
from mtc.models.packed.plan import DataFlow, plan_for
from mtc.models.packed.values import COPIES, Layout, Values

Features = tuple[Tensor, Tensor]
"""What leaves the branches: tokens (E, D) and the CNN's rows (R, C)."""


class PackedMTC:
    """``mtc.models.MTC``, function by function as there."""

    def __init__(self, network: MTC) -> None:
        self._network = network

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout) -> PackedBatch:
        """Samples as rows and entries."""
        return pack_samples(data, offsets, DataFlow.of_mtc(self._network.config, COPIES[layout]))

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of a sample: those of its own tokens, and a few that stand for the padding."""
        config = self._network.config
        padding = len(plan_for(DataFlow.of_mtc(config), 0).position)
        return np.minimum(live * config.width + padding, config.length)

    def logits(self, batch: PackedBatch) -> dict[str, Tensor]:
        """Task -> logits, float32 (B, classes)."""
        network = self._network
        z_ED, x_RC = _first_block(network.block1, batch.embed(), batch.values, batch)
        z_ED, x_RC = _fused_block(network.block2, z_ED, x_RC, batch)
        z_ED, x_RC = _fused_block(network.block3, z_ED, x_RC, batch)
        tokens = z_ED[batch.token_entry].flatten(1)
        local = mean_of_rows(x_RC, batch)[batch.token_entry]
        local = local.flatten(1) if network.config.cnn_pooling == "tokens" else local.mean(1)
        return {
            task: head(tokens if task in network.on_tokens else local).float()
            for task, head in network.heads.items()
        }


def _first_block(block: FirstBlock, z_ED: Tensor, x_RC: Tensor, batch: PackedBatch) -> Features:
    for layer in block.encoders:
        z_ED = encode(layer, z_ED, batch)
    local_RC = _local(block.bottleneck, x_RC, batch)
    return z_ED, _finish(block.bottleneck, x_RC, local_RC, batch)


def _fused_block(block: FusedBlock, z_ED: Tensor, x_RC: Tensor, batch: PackedBatch) -> Features:
    local_RC = _local(block.first, x_RC, batch)
    x_RC = _finish(block.first, x_RC, local_RC, batch)
    if block.down is not None:
        z_ED = z_ED + _down(block.down, local_RC, batch)
    z_ED = block.merge_norm(z_ED)
    for layer in block.encoders:
        z_ED = encode(layer, z_ED, batch)
    received_RC = None if block.up is None else _up(block.up, z_ED, batch)
    local_RC = _local(block.second, x_RC, batch, received_RC)
    return z_ED, _finish(block.second, x_RC, local_RC, batch)


def _local(block: Bottleneck, x_RC: Tensor, batch: PackedBatch, received_RC: Tensor | None = None) -> Tensor:
    reduced_RC = convolve(block.reduce, x_RC, batch)
    if received_RC is not None:
        reduced_RC = reduced_RC + received_RC
    return convolve(block.middle, reduced_RC, batch)


def _finish(block: Bottleneck, x_RC: Tensor, local_RC: Tensor, batch: PackedBatch) -> Tensor:
    residual_RC = x_RC if block.shortcut is None else convolve(block.shortcut, x_RC, batch)
    return (convolve(block.expand, local_RC, batch) + residual_RC).relu_()


def _down(layer: CnnToTokens, local_RC: Tensor, batch: PackedBatch) -> Tensor:
    # The pooling comes first: it commutes with the 1x1 convolution, which then runs on entries, not rows.
    received: Tensor = layer.norm(layer.project(mean_of_rows(local_RC, batch)))
    return received


def _up(layer: TokensToCnn, z_ED: Tensor, batch: PackedBatch) -> Tensor:
    # The interpolation comes last, where it costs least: it repeats a token and commutes with both others.
    share_E = batch.entry_multiplicity / batch.token_entry.numel()
    return spread_to_rows(batch_norm(layer.norm, layer.project(z_ED), share_E, batch.positions), batch)
