"""Measures what faster modes are worth for a model: see ``mtc.models.modes``."""

import numpy as np
from numpy.typing import NDArray

from mtc.models.engine.quantised import measure_ranges
from mtc.models.engine.tiles_int8 import NATIVE
from mtc.models.modes import Modes, judge, native_bf16
from mtc.models.networks.mtc import MTC
from mtc.models.packed.values import Values, ranges
from mtc.models.predict import predict_logits

RANGED = 512
"""Samples whose values are looked at to choose what a byte stands for."""

SAMPLES = 5_000
"""Samples that modes are compared on, at most."""


def measure_modes(
    network: MTC, data: Values, offsets: NDArray[np.int64], *, bf16: bool | None = None, seed: int = 0
) -> Modes:
    """Measure the faster modes of a network in evaluation mode, and let it use those that agree.

    Args:
        network: On the CPU; its ``modes`` are set.
        data: (values,), bytes of samples that it was not tested on, one sample after another.
        offsets: int64 (N + 1,).
        bf16: Whether bfloat16 is measured too; by default where the processor has it.
        seed: Chooses the samples where there are more than enough.

    Returns:
        What was measured; nothing of eight bits where the processor cannot compute with them.
    """
    count = len(offsets) - 1
    chosen = np.random.default_rng(seed).permutation(count)[:SAMPLES]
    data, offsets = _taken(data, offsets, chosen)
    batches = []
    for part in np.array_split(np.arange(min(len(chosen), RANGED)), 16):
        if len(part):
            batches.append(network.pack(*_taken(data, offsets, part)))
    network.modes = Modes(measure_ranges(network, batches), {})
    exact = predict_logits(network, data, offsets)
    names = ["int8"] if NATIVE else []
    names += ["bf16"] if (native_bf16() if bf16 is None else bf16) else []
    measured = {
        name: judge(exact, predict_logits(network, data, offsets, precision=name, again=False))  # type: ignore[arg-type]
        for name in names
    }
    network.modes = Modes(network.modes.ranges, measured)
    return network.modes


def _taken(
    data: Values, offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[Values, NDArray[np.int64]]:
    lengths = offsets[rows + 1] - offsets[rows]
    return data[ranges(offsets[rows], lengths)], np.concatenate([[0], np.cumsum(lengths)])
