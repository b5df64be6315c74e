"""Training steps of all four models: ours beside the plain reference, turn by turn in one run.

    python benchmarks/train.py [--models mtc,mtc-2task,transformer,cnn] [--pairs 3] [--batch 128]

A step is forward, backward and update (Adam) on one batch, as a recipe of Table 4 has it; for ours it
begins with ragged bytes, for the reference with a dense tensor. Either side runs in a process of its own
and steps while the other waits. Each step of the reference stands between two of ours, and the ratio is
the median over these turns, since machines differ and are shared. Memory is the most that was resident in
the process, libraries included (on a GPU: allocated there). On a GPU ours takes bf16 as
`train.precision=auto` does, and the table ends with the hours of the paper's full run: 352,000 samples,
100 epochs.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtc.config import load_recipe
from mtc.models import Network, build_network, pack
from mtc.training.fitting import keep_freed_memory, resolve_precision
from packets_of import Ragged, dense, full_packets, real_packets

TASKS = {"application": 17, "traffic": 12, "auxiliary": 6}
MODELS = ("mtc", "mtc-2task", "transformer", "cnn")
FULL_RUN = 352_000 * 100
"""Samples of the paper's whole training: 550,000 packets assumed, 64 % of them trained on, 100 epochs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument(
        "--pairs", type=int, default=3, help="steps of the reference, each between two of ours"
    )
    parser.add_argument(
        "--cpu", action="store_true", help="processor seconds, for a machine that is not quiet"
    )
    parser.add_argument("--child", nargs=3, metavar=("SIDE", "MODEL", "PACKETS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(*options.child, options.batch, time.process_time if options.cpu else time.perf_counter)
        return
    where = torch.cuda.get_device_name() if device() == "cuda" else f"{torch.get_num_threads()} threads"
    unit = "processor seconds" if options.cpu else "seconds"
    title = f"training step, batch {options.batch}, {where}, ours in {resolve_precision('auto', device())}"
    print(f"{title}, {unit}")
    columns = ("samples/s", "reference", "ours is", "MB", "reference MB", "full run, h")
    print(f"{'model':<12}{'packets':<9}", *(f"{column:>12}" for column in columns), sep="", flush=True)
    for model in options.models.split(","):
        for packets in ("real", "full"):
            cells = measured(model, packets, options)
            print(f"{model:<12}{packets:<9}", *(f"{cell:>12}" for cell in cells), sep="", flush=True)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def measured(model: str, packets: str, options: argparse.Namespace) -> tuple[str, ...]:
    """The cells of a row."""
    batch, about = options.batch, (model, packets, options)
    with Child("ours", *about) as ours, Child("reference", *about) as plain:
        steps, plain_steps, ratios = [ours.step()], [], []
        for _ in range(options.pairs):
            plain_steps.append(plain.step())
            steps.append(ours.step())
            ratios.append(2 * plain_steps[-1] / (steps[-2] + steps[-1]))
        rate, plain_rate = (batch / statistics.median(seconds) for seconds in (steps, plain_steps))
        hours = (f"{FULL_RUN / rate / 3600:,.1f}",) if device() == "cuda" else ()
        megabytes = (f"{side.megabytes():,.0f}" for side in (ours, plain))
        return f"{rate:,.1f}", f"{plain_rate:,.1f}", f"{statistics.median(ratios):.1f} x", *megabytes, *hours


class Child:
    """A process that takes a step when it is told to."""

    def __init__(self, side: str, model: str, packets: str, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--batch", str(options.batch), "--child", side, model, packets]
        command += ["--cpu"] * options.cpu
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._read()  # it has warmed up

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def step(self) -> float:
        """Seconds of one step."""
        return self._ask("step")

    def megabytes(self) -> float:
        """The most memory that it has held."""
        return self._ask("memory")

    def _ask(self, what: str) -> float:
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process of the benchmark ended with status {self._process.wait()}")
        return float(json.loads(line))


def serve(side: str, model: str, packets: str, batch: int, clock: Callable[[], float]) -> None:
    """What a child does."""
    torch.manual_seed(0)
    chosen = real_packets(batch)[0] if packets == "real" else full_packets(batch)
    step = (our_step if side == "ours" else plain_step)(model, chosen)
    timed(step, clock)  # compiles, allocates
    print(json.dumps(0), flush=True)
    for line in sys.stdin:
        value = timed(step, clock) if line.strip() == "step" else held_megabytes()
        print(json.dumps(value), flush=True)


def timed(step: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    step()
    if device() == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def held_megabytes() -> float:
    if device() == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    # Not ru_maxrss, which begins with that of the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(status["VmHWM"].split()[0]) / 1e3


def our_step(model: str, packets: Ragged) -> Callable[[], None]:
    keep_freed_memory()  # as `mtc train` does
    config, network = load_recipe(f"iscx-{model}"), built(model).train().to(device())
    update = updating(network, fused=True)

    def step() -> None:
        with arithmetic():
            logits = network(pack(*packets, network, layout=config.train.layout).to(device()))
        update(logits)

    return step


def built(model: str) -> Network:
    config = load_recipe(f"iscx-{model}")
    return build_network(
        config.model,
        {task: tuple(map(str, range(TASKS[task]))) for task in config.data.tasks or TASKS},
    )


@contextlib.contextmanager
def arithmetic() -> Iterator[None]:
    bf16 = resolve_precision("auto", device()) == "bf16"
    with torch.autocast(device(), torch.bfloat16, enabled=bf16):
        yield


def plain_step(model: str, packets: Ragged) -> Callable[[], None]:
    network = built(model).train().to(device())
    update, samples = updating(network), torch.from_numpy(dense(packets)).to(device())
    return lambda: update(network(samples))


def updating(network: nn.Module, *, fused: bool = False) -> Callable[[dict[str, Tensor]], None]:
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, weight_decay=1e-4, fused=fused)

    def update(logits: dict[str, Tensor]) -> None:
        losses = [
            F.cross_entropy(values, torch.arange(len(values), device=values.device) % values.shape[1])
            for values in logits.values()
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return update


if __name__ == "__main__":
    main()
