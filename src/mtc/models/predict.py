"""From samples to logits and calibrated probabilities: the one forward pass of evaluation mode."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mtc.models.engine import engine_for
from mtc.models.mtc import MTC
from mtc.models.network import Network
from mtc.models.networks import check_lengths, pack
from mtc.models.packing import Values, live_tokens
from mtc.models.temperature import Temperature

Precision = Literal["exact", "auto"]

Ints = NDArray[np.int64]

_POSITIONS_PER_BATCH = 51_200
"""Computed positions of a batch, about: enough for full matrix products, few enough for the cache."""


def native_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 matrices natively (AMX on a CPU)."""
    if torch.device(device).type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())  # no public name in PyTorch yet
    return torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


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
        precision: ``exact`` is fp32; ``auto`` is bfloat16 where the device has it natively.
        advance: Called with the number of samples done, for progress.

    Returns:
        Task -> float32 (N, classes).
    """
    device = next(network.parameters()).device
    count = len(offsets) - 1
    logits = {task: np.empty((count, size), np.float32) for task, size in network.classes.items()}
    live = live_tokens(data, offsets, network.config.width)
    order = np.argsort(live, kind="stable")
    reduced = precision == "auto" and native_bf16(device)
    if isinstance(network, MTC) and device.type == "cpu" and not reduced:
        check_lengths(offsets, network)
        parts = engine_for(network).logits(data, offsets, order, live)
    else:
        parts = _by_torch(network, data, offsets, order, live, reduced)
    for rows, found in parts:
        for task, values in found.items():
            logits[task][rows] = values
        if advance is not None:
            advance(len(rows))
    return logits


def _by_torch(
    network: Network, data: Values, offsets: Ints, order: Ints, live: Ints, reduced: bool
) -> Iterator[tuple[Ints, dict[str, NDArray[np.float32]]]]:
    """Logits by the network's own forward, batch by batch of similar length."""
    device = next(network.parameters()).device
    positions = network.computed_positions(live[order])
    start, count = 0, len(order)
    while start < count:
        # The longest sample of a batch is its last: grow it until that one would fill the batch.
        size = np.arange(1, count - start + 1) * positions[start:]
        end = start + max(1, int(np.searchsorted(size, _POSITIONS_PER_BATCH, side="right")))
        rows = order[start:end]
        batch = pack(*_gather(data, offsets, rows), network).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            outputs = network(batch)
        yield rows, {task: values.float().cpu().numpy() for task, values in outputs.items()}
        start = end


def predict_probabilities(
    logits: Mapping[str, NDArray[np.float32]],
    temperatures: Mapping[str, Temperature],
    absent: Mapping[str, Ints],
) -> dict[str, NDArray[np.float32]]:
    """Calibrated probabilities of logits.

    Args:
        logits: Task -> float32 (N, classes).
        temperatures: Task -> temperature; 1 where a task is not named.
        absent: Task -> indices of classes without training samples: their probability is 0.

    Returns:
        Task -> float32 (N, classes), rows sum to 1.
    """
    none, certain = np.empty(0, np.int64), Temperature()
    return {
        task: np.exp(
            temperatures.get(task, certain).log_probabilities(values, absent.get(task, none))
        ).astype(np.float32)
        for task, values in logits.items()
    }


def _gather(data: Values, offsets: Ints, rows: Ints) -> tuple[Values, Ints]:
    """The given samples one after another."""
    lengths = offsets[rows + 1] - offsets[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    index = np.arange(taken[-1]) + np.repeat(offsets[rows] - taken[:-1], lengths)
    return data[index], taken
