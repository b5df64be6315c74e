"""Packets a second through MTC: ours beside the plain reference, in one run.

    python benchmarks/infer.py [--packets 512]

Both in evaluation mode and fp32, with the same weights; the largest difference of a probability is
printed beside the speed. What counts is the ratio, since machines differ and are shared.
"""

import argparse
import time

import numpy as np
import torch

from mtc.config import ModelConfig
from mtc.models import MTC, predict_logits
from packets_of import dense, full_packets, real_packets
from reference import ReferenceMTC

CLASSES = {"application": 17, "traffic": 12, "auxiliary": 6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=512)
    options = parser.parse_args()
    torch.manual_seed(0)
    ours, reference = MTC(ModelConfig(), CLASSES).eval(), ReferenceMTC(CLASSES).eval()
    reference.load_state_dict(ours.state_dict())
    real, name = real_packets(options.packets)
    print(f"{torch.get_num_threads()} threads, MTC, fp32, packets/s")
    print(f"{'packets':<24}{'mean bytes':>11}{'reference':>11}{'ours':>9}{'ratio':>8}{'difference':>12}")
    for label, packets in ((name, real), ("all of 1500 bytes", full_packets(options.packets // 4))):
        count = len(packets[1]) - 1
        predict_logits(ours, *packets)
        start = time.perf_counter()
        fast = predict_logits(ours, *packets)
        fast_s = time.perf_counter() - start
        start = time.perf_counter()
        with torch.inference_mode():
            chunks = [reference(part) for part in torch.from_numpy(dense(packets)).split(64)]
        slow_s = time.perf_counter() - start
        slow = {task: torch.cat([chunk[task] for chunk in chunks]) for task in CLASSES}
        difference = max(
            float((slow[t].softmax(1) - torch.from_numpy(fast[t]).softmax(1)).abs().max()) for t in CLASSES
        )
        speeds = f"{count / slow_s:>11.1f}{count / fast_s:>9.1f}{slow_s / fast_s:>7.1f}x"
        print(f"{label:<24}{np.diff(packets[1]).mean():>11.0f}{speeds}{difference:>12.1e}")


if __name__ == "__main__":
    main()
