"""From samples to logits: the one forward pass of evaluation mode."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.models.engine.engine import engine_for, fields_engine_for
from mtc.models.engine.tiles_int8 import NATIVE
from mtc.models.fields.network import Fields
from mtc.models.modes import Precision, Reduced, close_calls, fastest, native_bf16
from mtc.models.networks.base import Network
from mtc.models.networks.mtc import MTC
from mtc.models.packed.values import Values, check_lengths, live_tokens
from mtc.models.registry import pack

__all__ = ["Precision", "native_bf16", "predict_logits"]

Ints = NDArray[np.int64]

_POSITIONS_PER_BATCH = 51_200
"""Computed positions of a batch, about: enough for full matrix products, few enough for the cache."""


@torch.inference_mode()
def predict_logits(
    network: Network,
    data: Values,
    offsets: Ints,
    *,
    precision: Precision = "exact",
    again: bool = True,
    advance: Callable[[int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Logits of ragged samples, in their order.

    Samples are computed in batches of similar length. The network must be in evaluation mode.

    Args:
        network: In evaluation mode, on any device.
        data: (values,), uint8 bytes or float32 features, one sample after another.
        offsets: int64 (N + 1,), where each sample begins and ends in ``data``.
        precision: ``exact`` is fp32. ``int8`` and ``bf16`` round more, and compute verdicts that are close
            again in fp32 where the model has measured limits (``mtc.models.modes``). ``auto`` is the
            fastest of them that agrees with fp32 in 99.9 % of verdicts by that measurement.
        again: Whether verdicts that are close are computed again.
        advance: Called with the number of samples done, for progress.

    Returns:
        Task -> float32 (N, classes).

    Raises:
        UsageError: A sample is too long, or the mode is one that the model or the machine has not.
    """
    device = next(network.parameters()).device
    count = len(offsets) - 1
    check_lengths(offsets, network.config.length)
    if isinstance(network, Fields) and device.type == "cpu" and precision in ("exact", "auto"):
        fields = fields_engine_for(network)
        if fields is not None:
            return fields.logits(data, offsets, advance)
    logits = {task: np.empty((count, size), np.float32) for task, size in network.classes.items()}
    live = live_tokens(data, offsets, network.config.width)
    mode = _mode(network, data, precision, device)

    def compute(chosen: Ints, mode: Reduced | None, advance: Callable[[int], None] | None) -> None:
        order = chosen[np.argsort(live[chosen], kind="stable")]
        for rows, found in _parts(network, data, offsets, order, live, mode):
            for task, values in found.items():
                logits[task][rows] = values
            if advance is not None:
                advance(len(rows))

    compute(np.arange(count), mode, advance)
    if again and mode is not None and isinstance(network, MTC) and network.modes is not None:
        measured = network.modes.measured.get(mode)
        if measured is not None:
            compute(np.flatnonzero(close_calls(logits, measured.margins)), None, None)
    return logits


def _mode(network: Network, data: Values, precision: Precision, device: torch.device) -> Reduced | None:
    """The mode that is meant, None for fp32.

    Raises:
        UsageError: The model or the machine has no such mode.
    """
    if precision == "exact":
        return None
    if precision == "auto":
        return fastest(network, device) if isinstance(network, MTC) and data.dtype == np.uint8 else None
    if precision == "int8":
        ready = isinstance(network, MTC) and network.modes is not None and data.dtype == np.uint8
        if not (ready and NATIVE and device.type == "cpu"):
            raise UsageError("int8 needs a processor with AVX-512 VNNI and a model that was measured in it")
    return precision


def _parts(
    network: Network, data: Values, offsets: Ints, order: Ints, live: Ints, mode: Reduced | None
) -> Iterator[tuple[Ints, dict[str, NDArray[np.float32]]]]:
    """Logits of samples in the given order, part by part."""
    on_cpu = next(network.parameters()).device.type == "cpu"
    engine = engine_for(network) if isinstance(network, MTC) and on_cpu and mode != "bf16" else None
    if engine is None:
        return _by_torch(network, data, offsets, order, live, mode == "bf16")
    assert isinstance(network, MTC)
    if mode == "int8" and not engine.has_int8:
        assert network.modes is not None
        engine.use_int8(network.modes.ranges)
    return engine.logits(data, offsets, order, live, int8=mode == "int8")


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


def _gather(data: Values, offsets: Ints, rows: Ints) -> tuple[Values, Ints]:
    """The given samples one after another."""
    lengths = offsets[rows + 1] - offsets[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    index = np.arange(taken[-1]) + np.repeat(offsets[rows] - taken[:-1], lengths)
    return data[index], taken
