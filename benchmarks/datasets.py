"""Building and reading datasets: speed beside that of reading alone, memory, and the loader.

    python benchmarks/datasets.py [--packets 10000000] [--workers 2]

The traffic is made here: 64, 594 and 1518 bytes in 20,000 flows, as eight captures of four applications,
half of them over VPN. *Reading* is what `benchmarks/read.py` calls samples, in one process. A build
does all that `mtc dataset iscx` does: it reads, balances, hashes source and rows, makes 24 splits with
folds, counts what they share, and writes the dataset; without a cap it writes every packet. Every build
runs in a process of its own, whose start is counted; its memory is the most that was resident in it or in
one of its workers.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from mtc.config import ModelConfig
from mtc.datasets import Dataset, LabelledSamples
from mtc.flows import iter_samples
from mtc.models import MTC, pack
from traffic import write_traffic

NAMES = (
    *("skype_chat1a", "vpn_skype_chat1a", "netflix1", "vpn_netflix_A"),
    *("vimeo1", "vpn_vimeo_A", "youtube1", "vpn_youtube_A"),
)
BATCH = 128
UNCAPPED = 5  # builds without a cap get this part of the packets
BUILD = """
import json, resource, sys, time
started = time.perf_counter()
from mtc.datasets import build_iscx

if __name__ == "__main__":
    source, out, cap, workers = sys.argv[1:]
    info = build_iscx(source, out, cap=int(cap) or None, workers=int(workers), force=True)
    seconds = time.perf_counter() - started
    # Not ru_maxrss of this process, which begins with that of the one that started it.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak = max(int(status["VmHWM"].split()[0]), workers) / 1e3
    print(json.dumps({"packets": info.packets, "rows": info.rows, "seconds": seconds, "peak": peak}))
"""


@dataclass(frozen=True)
class Built:
    packets: int
    rows: int
    seconds: float
    peak: float
    """Megabytes."""

    @property
    def rate(self) -> float:
        return self.packets / self.seconds


def make_captures(folder: Path, packets: int) -> Path:
    folder.mkdir()
    for name in NAMES:
        pcapng = folder / "other.pcapng"
        write_traffic(folder / f"{name}.pcap", pcapng, packets // len(NAMES))
        pcapng.unlink()
    return folder


def read(source: Path) -> float:
    """Packets a second of the best of three; the first brings the files into memory."""
    best = 0.0
    for _ in range(3):
        started = time.perf_counter()
        packets = sum(piece.packets for piece in iter_samples(source))
        best = max(best, packets / (time.perf_counter() - started))
    return best


def build(source: Path, out: Path, cap: int, workers: int, repeats: int = 2) -> Built:
    """The fastest of some builds."""
    script = out.parent / "build.py"
    script.write_text(BUILD)
    command = [sys.executable, script, source, out, cap, workers]
    told = [
        subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout
        for _ in range(repeats)
    ]
    return min((Built(**json.loads(line)) for line in told), key=lambda built: built.seconds)


def measure_building(console: Console, folder: Path, packets: int, workers: int) -> None:
    for cap, count in ((50_000, packets), (0, packets // UNCAPPED)):
        speed = Table("", "cap", "packets", "rows", "packets/s", "of reading")
        memory = Table("cap", "processes", "packets", "at most resident")
        source = make_captures(folder / f"{cap}", count)
        samples = read(source)
        speed.add_row("reading, 1 process", "", f"{count:,}", "", f"{samples:,.0f}", "")
        name = f"{cap:,}" if cap else "none"
        built = build(source, folder / "out", cap, workers)
        share = f"{built.rate / samples:.2f}"
        what = f"building, {workers} processes"
        speed.add_row(what, name, f"{count:,}", f"{built.rows:,}", f"{built.rate:,.0f}", share)
        small = make_captures(folder / f"{cap}-small", count // 10)
        for given in (small, source):
            one = build(given, folder / "other", cap, 1, repeats=1)
            memory.add_row(name, "1", f"{one.packets:,}", f"{one.peak:,.0f} MB")
        speed.add_row(
            "building, 1 process",
            name,
            f"{one.packets:,}",
            f"{one.rows:,}",
            f"{one.rate:,.0f}",
            f"{one.rate / samples:.2f}",
        )
        memory.add_row(name, str(workers), f"{built.packets:,}", f"{built.peak:,.0f} MB")
        shutil.rmtree(source)
        console.print(speed)
        console.print(memory)


def batches(samples: LabelledSamples, count: int) -> list[np.ndarray]:
    """Rows of random batches, in the order of a seed."""
    order = np.random.default_rng(1).permutation(len(samples))
    return [order[i * BATCH : (i + 1) * BATCH] for i in range(min(count, len(samples) // BATCH))]


def measure_loading(console: Console, folder: Path) -> None:
    dataset = Dataset.open(folder)
    started = time.perf_counter()
    samples = dataset.part("packet", "train")
    opening = len(samples) / (time.perf_counter() - started)
    network = MTC(ModelConfig(), {task: len(classes) for task, classes in dataset.tasks.items()}).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    table = Table("step", "rows/s", title=f"Loader: {len(samples):,} rows, {len(samples.data):,} bytes")
    table.add_row("read the training part", f"{opening:,.0f}")
    rows = batches(samples, 2_000)
    pack(samples.take(rows[0]).data, samples.take(rows[0]).offsets, network)  # compiles
    started = time.perf_counter()
    for chosen in rows:
        samples.take(chosen)
    taking = sum(map(len, rows)) / (time.perf_counter() - started)
    table.add_row(f"shuffled batches of {BATCH}, ragged", f"{taking:,.0f}")
    started = time.perf_counter()
    for chosen in rows[:200]:
        taken = samples.take(chosen)
        pack(taken.data, taken.offsets, network)
    table.add_row(
        "the same, packed for the network",
        f"{BATCH * len(rows[:200]) / (time.perf_counter() - started):,.0f}",
    )
    seconds = []
    for chosen in rows[:4]:
        taken = samples.take(chosen)
        packed = pack(taken.data, taken.offsets, network)
        labels = {task: torch.from_numpy(column) for task, column in taken.labels.items()}
        started = time.perf_counter()
        logits = network(packed)
        losses = [F.cross_entropy(logits[task], labels[task].clamp(min=0)) for task in logits]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    step = BATCH / min(seconds)
    table.add_row(f"training step of MTC ({torch.get_num_threads()} threads)", f"{step:,.0f}")
    console.print(table)
    console.print(f"Shuffled batches come {taking / step:,.0f} times as fast as a training step takes them.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packets", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        measure_building(console, Path(folder), arguments.packets, arguments.workers)
        measure_loading(console, Path(folder) / "out")


if __name__ == "__main__":
    main()
