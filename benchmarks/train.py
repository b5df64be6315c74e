"""Training steps a second: ours beside the plain reference, in one run.

    python benchmarks/train.py [--steps 3] [--batch 128]

A step is forward, backward and update (Adam) on one batch. Figures are medians; what counts is the
ratio, since machines differ and are shared.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from mtc.config import ModelConfig
from mtc.models import MTC, pack
from packets_of import Ragged, dense, full_packets, real_packets
from reference import ReferenceMTC

CLASSES = {"application": 17, "traffic": 12, "auxiliary": 6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each")
    options = parser.parse_args()
    torch.manual_seed(0)
    real, name = real_packets(options.batch)
    print(f"{torch.get_num_threads()} threads, batch {options.batch}, MTC, fp32; samples/s, median step")
    print(f"{'packets':<24}{'mean bytes':>11}{'reference':>11}{'ours':>9}{'ratio':>8}")
    for label, packets in ((name, real), ("all of 1500 bytes", full_packets(options.batch))):
        slow = options.batch / _step_seconds(_reference_step(packets), max(1, options.steps // 3))
        fast = options.batch / _step_seconds(_our_step(packets), options.steps)
        mean = len(packets[0]) / options.batch
        print(f"{label:<24}{mean:>11.0f}{slow:>11.1f}{fast:>9.1f}{fast / slow:>7.1f}x")


def _step_seconds(step: Callable[[], None], steps: int) -> float:
    step()  # compiles, allocates
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _update(network: torch.nn.Module) -> Callable[[dict[str, torch.Tensor]], None]:
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, weight_decay=1e-4)

    def update(logits: dict[str, torch.Tensor]) -> None:
        losses = [F.cross_entropy(v, torch.arange(len(v)) % v.shape[1]) for v in logits.values()]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()

    return update


def _our_step(packets: Ragged) -> Callable[[], None]:
    network = MTC(ModelConfig(), CLASSES).train()
    update = _update(network)
    return lambda: update(network(pack(*packets, network)))


def _reference_step(packets: Ragged) -> Callable[[], None]:
    network = ReferenceMTC(CLASSES).train()
    update, samples = _update(network), torch.from_numpy(dense(packets))
    return lambda: update(network(samples))


if __name__ == "__main__":
    main()
