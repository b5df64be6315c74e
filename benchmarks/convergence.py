"""Does the fast training converge to what plain PyTorch converges to? MTC, fixed packets, several seeds.

    python benchmarks/convergence.py data/iscx-mini --out convergence.json [--packets 2000] [--epochs 5]

Every seed is trained twice by the published recipe, from the same weights, on the same packets in the
same batches: by ``mtc.models`` on packed batches, and by the plain network (eager PyTorch,
every position computed). What differs is dropout: the masks, and that positions of the padding that share
a row share one. Scores are those of 1,000 other packets, by exact evaluation for both.

It goes on where it was interrupted: the state after every step is kept beside OUT. While the file named
by the environment variable MTC_WAIT_FILE exists, no step begins.
"""

import argparse
import copy
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import RunConfig
from mtc.datasets import Dataset, LabelledSamples
from mtc.evaluation.paired import estimate
from mtc.metrics import score
from mtc.models import MTC, pack, predict_logits
from mtc.training.batches import EpochOrder
from mtc.training.module import multi_task_loss

SCORED = 1_000
KINDS = ("fast", "plain")


@dataclass
class Curve:
    """One training: an entry an epoch in each list."""

    loss: list[float] = field(default_factory=list)
    """Mean training loss."""
    macro_f1: list[float] = field(default_factory=list)
    """Mean over the tasks, on the packets that are not trained on."""
    seconds: float = 0.0


@dataclass
class Data:
    tasks: dict[str, tuple[str, ...]]
    trained: LabelledSamples
    scored: LabelledSamples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--packets", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", default="1,2,3")
    options = parser.parse_args()
    data = load(options.dataset, options.packets)
    states = options.out.with_suffix("")
    states.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    curves: dict[str, dict[int, Curve]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for seed in seeds:
            curves[kind][seed] = train(kind, seed, data, options.epochs, states / f"{kind}-{seed}.pt")
            write(options, curves)
    print(table(summary(curves)))


def load(path: Path, packets: int) -> Data:
    """Packets of a random split, so that a few epochs have something to show."""
    dataset = Dataset.open(path)
    rng = np.random.default_rng(0)

    def some(part: str, count: int) -> LabelledSamples:
        samples = dataset.part("packet", part)
        return samples.take(rng.permutation(len(samples))[:count])

    tasks = {task: tuple(classes) for task, classes in dataset.tasks.items()}
    return Data(tasks, some("train", packets), some("validation", SCORED))


def train(kind: str, seed: int, data: Data, epochs: int, state: Path) -> Curve:
    """Train once, or go on; the state of a finished training gives its curve at once."""
    config = RunConfig(seed=seed)
    torch.manual_seed(seed)
    fast = MTC(config.model, {task: len(classes) for task, classes in data.tasks.items()})
    network: nn.Module = fast if kind == "fast" else copy.deepcopy(fast)
    recipe = config.train
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    curve, done, losses = Curve(), 0, []
    if state.exists():
        saved = torch.load(state, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        curve, done, losses = Curve(**saved["curve"]), saved["steps"], saved["losses"]

    batches = -(-len(data.trained) // recipe.batch_size)
    order = EpochOrder(len(data.trained), seed)
    for step in range(done, epochs * batches):
        wait()
        started = time.monotonic()
        order.set_epoch(step // batches)
        at = step % batches * recipe.batch_size
        samples = data.trained.take(order.permutation()[at : at + recipe.batch_size])
        torch.manual_seed(1_000_000 * seed + step)
        losses.append(update(network.train(), forward(kind, fast, network, samples), samples, optimizer))
        curve.seconds += time.monotonic() - started
        if step % batches == batches - 1:
            fast.load_state_dict(network.state_dict())
            curve.loss.append(float(np.mean(losses)))
            curve.macro_f1.append(macro_f1(fast.eval(), data))
            losses = []
            print(kind, seed, curve, file=sys.stderr, flush=True)
        keep(state, network, optimizer, curve, step + 1, losses)
    return curve


def forward(
    kind: str, fast: MTC, network: nn.Module, samples: LabelledSamples
) -> Callable[[], dict[str, Tensor]]:
    if kind == "fast":
        return lambda: fast(pack(samples.data, samples.offsets, fast, layout=RunConfig().train.layout))
    dense = samples.dense().astype(np.float32) / np.float32(255)
    return lambda: network(torch.from_numpy(dense))


def update(
    network: nn.Module,
    logits_of: Callable[[], dict[str, Tensor]],
    samples: LabelledSamples,
    optimizer: torch.optim.Optimizer,
) -> float:
    """One step; returns its loss."""
    logits = logits_of()
    labels = {task: torch.from_numpy(samples.labels[task]) for task in logits}
    loss = multi_task_loss(logits, labels, RunConfig().loss.weights)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def macro_f1(network: MTC, data: Data) -> float:
    logits = predict_logits(network, data.scored.data, data.scored.offsets)
    scores = [
        score(data.scored.labels[task], values.argmax(1), data.tasks[task])["macro_f1"] or 0.0
        for task, values in logits.items()
    ]
    return float(np.mean(scores))


def keep(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    curve: Curve,
    steps: int,
    losses: list[float],
) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"curve": asdict(curve), "steps": steps, "losses": losses}
    beside = path.with_suffix(".part")
    torch.save(state, beside)
    beside.replace(path)


def wait() -> None:
    while (file := os.environ.get("MTC_WAIT_FILE")) and Path(file).exists():
        time.sleep(1)


def summary(curves: Mapping[str, Mapping[int, Curve]]) -> list[dict[str, Any]]:
    """A row for loss and macro F1 after each epoch that at least one seed has of both kinds."""
    seeds = [seed for seed in curves["plain"] if seed in curves["fast"]]
    rows: list[dict[str, Any]] = []
    for name in ("loss", "macro_f1"):
        values = {kind: np.array([getattr(curves[kind][seed], name) for seed in seeds]) for kind in KINDS}
        if not seeds:
            continue
        for epoch in range(values["plain"].shape[1]):
            fast, plain = (values[kind][:, epoch] for kind in KINDS)
            rows.append({"what": name, "epoch": epoch + 1, **compared(fast, plain)})
    return rows


def compared(fast: NDArray[np.float64], plain: NDArray[np.float64]) -> dict[str, Any]:
    """Means and half-widths of 95 % intervals over the seeds, of both and of the difference by seed."""
    row: dict[str, Any] = {"seeds": len(fast)}
    for name, values in (("fast", fast), ("plain", plain), ("difference", fast - plain)):
        found = estimate(values.tolist())
        assert found is not None
        row[name], row[f"{name}_half"] = found.mean, found.half_width
    half = row["plain_half"]
    row["within"] = None if half is None else bool(abs(row["difference"]) <= half)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| | epoch | fast | plain | difference | within |", "|---|---:|---:|---:|---:|---|"]
    for row in rows:
        cells = [number(row[name], row[f"{name}_half"]) for name in ("fast", "plain", "difference")]
        within = {None: "", True: "yes", False: "no"}[row["within"]]
        lines.append(f"| {row['what']} | {row['epoch']} | {' | '.join(cells)} | {within} |")
    return "\n".join(lines)


def number(mean: float, half: float | None) -> str:
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"


def write(options: argparse.Namespace, curves: Mapping[str, Mapping[int, Curve]]) -> None:
    result = {
        "packets": options.packets,
        "epochs": options.epochs,
        "threads": torch.get_num_threads(),
        "curves": {kind: {seed: asdict(c) for seed, c in of.items()} for kind, of in curves.items()},
        "summary": summary(curves),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
