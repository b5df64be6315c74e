"""From samples to logits: the one forward pass of evaluation mode."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mtc.config import Precision
from mtc.models.accelerate import engine_of, packed_form
from mtc.models.networks.base import Network
from mtc.models.packed.values import Layout, Values, check_lengths, live_tokens, ranges
from mtc.models.registry import pack

__all__ = ["native_bf16", "predict_logits"]

Ints = NDArray[np.int64]

_POSITIONS_PER_BATCH = 51_200
"""Computed positions of a batch, about: enough for full matrix products, few enough for the cache."""

_LARGER_ON_A_GPU = 16
"""So many times as many on a GPU, which a batch of a CPU would leave idle."""


@torch.inference_mode()
def predict_logits(
    network: Network,
    data: Values,
    offsets: Ints,
    *,
    precision: Precision = "exact",
    advance: Callable[[int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Logits of ragged samples, in their order.

    Samples are computed in batches of similar length. The network must be in evaluation mode.

    Args:
        network: In evaluation mode, on any device.
        data: (values,), uint8 bytes or float32 features, one sample after another.
        offsets: int64 (N + 1,), where each sample begins and ends in ``data``.
        precision: ``exact`` is fp32. ``bf16`` multiplies matrices in bfloat16 by PyTorch's autocast, which
            pays on a GPU and on a CPU with AMX. ``auto`` is what was measured to be the fastest with the
            same first classes: fp32 (docs/engine.md).
        advance: Called with the number of samples done, for progress.

    Returns:
        Task -> float32 (N, classes).

    Raises:
        UsageError: A sample is too long.
    """
    count = len(offsets) - 1
    check_lengths(offsets, network.config.length)
    engine = None if precision == "bf16" else engine_of(network)
    if engine is not None:
        return engine.logits(data, offsets, advance)
    logits = {task: np.empty((count, size), np.float32) for task, size in network.classes.items()}
    for rows, found in _by_torch(network, data, offsets, reduced=precision == "bf16"):
        for task, values in found.items():
            logits[task][rows] = values
        if advance is not None:
            advance(len(rows))
    return logits


def _by_torch(
    network: Network, data: Values, offsets: Ints, *, reduced: bool
) -> Iterator[tuple[Ints, dict[str, NDArray[np.float32]]]]:
    """Logits by PyTorch, batch by batch of similar length: rows of a batch, and task -> (rows, classes)."""
    device = next(network.parameters()).device
    live = live_tokens(data, offsets, network.config.width)
    order = np.argsort(live, kind="stable")
    form = packed_form(network)
    layout: Layout = "dense" if form is None else "packed"
    positions = (network if form is None else form).computed_positions(live[order])
    most = _POSITIONS_PER_BATCH * (1 if device.type == "cpu" else _LARGER_ON_A_GPU)
    start, count = 0, len(order)
    while start < count:
        # The longest sample of a batch is its last: grow it until that one would fill the batch.
        size = np.arange(1, count - start + 1) * positions[start:]
        end = start + max(1, int(np.searchsorted(size, most, side="right")))
        rows = order[start:end]
        lengths = offsets[rows + 1] - offsets[rows]
        taken = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        batch = pack(data[ranges(offsets[rows], lengths)], taken, network, layout=layout).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            outputs = network(batch)
        yield rows, {task: values.float().cpu().numpy() for task, values in outputs.items()}
        start = end


def native_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 matrices natively (AMX on a CPU)."""
    if torch.device(device).type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())  # no public name in PyTorch yet
    return torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
