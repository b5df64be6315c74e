"""How much arithmetic MTC needs, and how much of it the processor can do in a second."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from mtc.models import MTC
from mtc.models.networks.mtc import ConvNorm
from mtc.models.packed.plan import DataFlow, plan_for
from mtc.models.packed.values import live_tokens
from packets_of import Ragged


def operations(network: MTC, packets: Ragged | None) -> float:
    """Multiplications and additions of matrix products for a packet; of the dense model for None."""
    flow = DataFlow.of_mtc(network.config)
    tokens, width = flow.tokens, flow.width
    if packets is None:
        rows, entries = float(tokens * width), float(tokens)
        squares = float(tokens**2)
    else:
        plans = [plan_for(flow, int(live)) for live in live_tokens(*packets, width)]
        rows = float(np.mean([len(plan.position) for plan in plans]))
        counts = np.array([len(plan.multiplicity) for plan in plans])
        entries, squares = float(counts.mean()), float((counts**2).mean())
    a_row = sum(m.weight.numel() for m in network.modules() if isinstance(m, ConvNorm))
    layers = [module for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    heads = sum(head.weight.numel() for head in network.heads.values())  # type: ignore[operator,union-attr]
    an_entry = sum(layer.weight.numel() for layer in layers) - heads
    inner = network.config.heads * (network.config.width // network.config.heads)
    attention = 2 * inner * sum(network.config.repetitions) * squares
    return 2.0 * (rows * a_row + entries * an_entry + attention + heads)


def matrix_rates() -> dict[str, float]:
    """Operations a second of matrix products, by type, on all threads: the best over sizes and libraries."""
    rates = {"fp32": 0.0, "bf16": 0.0}
    for size in (512, 1024, 2048):
        a = torch.randn(size, size)
        rates["fp32"] = max(rates["fp32"], _rate(lambda a=a: a @ a, size))
        b = a.to(torch.bfloat16)
        rates["bf16"] = max(rates["bf16"], _rate(lambda b=b: b @ b, size))
    return rates


def _rate(product: Callable[[], object], size: int) -> float:
    product()
    times = []
    while len(times) < 5 or sum(times) < 0.3:
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return 2.0 * size**3 / min(statistics.median(times), min(times) * 1.2)
