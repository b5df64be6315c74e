"""Packets a second through MTC: ours beside other ways to run the same weights, in one run.

    python benchmarks/infer.py [--minutes 5] [--more] [--exactness | --fields] [--data data/iscx-mini]

All others compute the dense model, every position of every packet: plain eager PyTorch (the network itself,
`mtc.models.networks.mtc`), the exported ONNX file in onnxruntime and OpenVINO, and with --more also
torch.compile (skipped where they are not installed). The weights are those of the bundled `iscx-paper`, the
packets those of its test part; no two verdicts are shared, however alike packets are. `same` is the share of
verdicts with the first class of eager PyTorch, of the task where it is smallest; `off` the largest difference
of a probability.

Shares of the roofline: arithmetic that a packet needs (without what is shared, padded or copied), by the
rate of matrix products of the same type, the best that was seen in this run.

What has not begun after --minutes is skipped; --more takes three times as many packets. With --exactness,
instead: lengths from 40 to 1500 and real packets, ours beside the plain network. With --fields, only
what stands at the end: the bundled default, the network of fields, beside PyTorch.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mtc.config import Precision
from mtc.datasets import Dataset
from mtc.inference import find_model
from mtc.inference.export.onnx import export_onnx
from mtc.models import MTC, LoadedModel, load_model, pack, predict_logits
from mtc.models.accelerate import engine_of
from mtc.models.packed.values import live_tokens
from packets_of import Ragged, dense, ragged, real_packets
from roofline import matrix_rates, operations

Logits = dict[str, NDArray[np.float32]]
Contender = Callable[[Ragged], Logits]

BATCH = 64
"""Packets that the dense contenders are given at once."""

LENGTHS = (40, 100, 200, 400, 800, 1200, 1500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--more", action="store_true", help="more packets, and torch.compile")
    parser.add_argument("--exactness", action="store_true")
    parser.add_argument("--fields", action="store_true")
    default = Path(__file__).resolve().parents[1] / "data" / "iscx-mini"
    parser.add_argument("--data", type=Path, default=default, help="the dataset's folder")
    options = parser.parse_args()
    model = load_model(find_model("iscx-paper"))
    if options.exactness:
        exactness(model, options.data, 5_000 if options.more else 500)
        return
    # A fifth is kept for what is under way when the time is over.
    end = time.monotonic() + 0.8 * 60 * options.minutes
    packets = test_packets(options.data, 1_536 if options.more else 512, "test")
    print(
        f"{torch.get_num_threads()} threads, {len(packets[1]) - 1} packets of "
        f"{np.diff(packets[1]).mean():.0f} bytes",
        flush=True,
    )
    parts: list[Callable[[], None]] = [
        lambda: compare(model, packets, end, more=options.more),
        lambda: by_length(model, 96 if options.more else 24),
        lambda: few_at_once(model, packets),
        lambda: fields(packets),
    ]
    for part in parts[-1:] if options.fields else parts:
        if time.monotonic() < end:
            part()
        else:
            print("\nmore is skipped: the time is over")
            break


def test_packets(folder: Path, count: int, part: str) -> Ragged:
    """Random packets of the dataset, or others where it is not there."""
    if not (folder / "dataset.json").is_file():
        return real_packets(count)[0]
    samples = Dataset.open(folder).part("flow", part)
    rows = np.random.default_rng(0).permutation(len(samples))[:count]
    chosen = samples.take(rows)
    return ragged(chosen.dense(np.arange(len(chosen))))


def first(packets: Ragged, count: int) -> Ragged:
    """The first packets."""
    data, offsets = packets
    return data[: offsets[min(count, len(offsets) - 1)]], offsets[: count + 1]


def seconds(run: Callable[[], object], least: float = 1.0) -> float:
    """Median time of a call, over about ``least`` seconds."""
    times = []
    while sum(times) < least or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
        if times[0] > 5:
            break
    return statistics.median(times)


# ---------------------------------------------------------------- contenders


def by_torch(network: Callable[[torch.Tensor], dict[str, torch.Tensor]]) -> Contender:
    def run(packets: Ragged) -> Logits:
        with torch.inference_mode():
            parts = [network(part) for part in torch.from_numpy(dense(packets)).split(BATCH)]
        return {task: torch.cat([part[task] for part in parts]).numpy() for task in parts[0]}

    return run


def by_onnxruntime(path: Path, tasks: list[str]) -> Contender:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(packets: Ragged) -> Logits:
        parts = [session.run(tasks, {"samples": part}) for part in batches(packets)]
        return {task: np.concatenate([part[i] for part in parts]) for i, task in enumerate(tasks)}

    return run


def by_openvino(path: Path, tasks: list[str]) -> Contender:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "THROUGHPUT",
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)

    def run(packets: Ragged) -> Logits:
        found: dict[int, Logits] = {}

        def done(request: openvino.InferRequest, number: int) -> None:
            found[number] = {task: request.get_tensor(task).data.copy() for task in tasks}

        queue = openvino.AsyncInferQueue(compiled)
        queue.set_callback(done)
        for number, part in enumerate(batches(packets)):
            queue.start_async({"samples": part}, number)
        queue.wait_all()
        return {task: np.concatenate([found[i][task] for i in sorted(found)]) for task in tasks}

    return run


def batches(packets: Ragged) -> list[NDArray[np.uint8]]:
    """Samples of 1500 bytes, as the exported file takes them."""
    whole = np.rint(dense(packets) * 255).astype(np.uint8)
    return np.array_split(whole, range(BATCH, len(whole), BATCH))


def ours(model: LoadedModel, precision: Precision) -> Contender:
    return lambda packets: predict_logits(model.network, *packets, precision=precision)


# ---------------------------------------------------------------- tables


def compare(model: LoadedModel, packets: Ragged, end: float, *, more: bool) -> None:
    """All contenders that begin before ``end``; those that are slow on fewer packets."""
    plain = model.network
    tasks = list(model.network.classes)
    some = first(packets, 384 if more else 96)
    expected = by_torch(plain)(packets)
    work = operations(model.network, packets)
    rates = matrix_rates()
    print("matrix products:", ", ".join(f"{name} {rate / 1e9:.0f} Gop/s" for name, rate in rates.items()))
    print(
        f"a packet needs {work / 1e6:.0f} million operations, "
        f"dense {operations(model.network, None) / 1e6:.0f}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(model, path)
        rows: list[tuple[str, Ragged, Callable[[], Contender], str]] = [
            ("PyTorch eager, dense", some, lambda: by_torch(plain), "fp32"),
            ("onnxruntime, dense", some, lambda: by_onnxruntime(path, tasks), "fp32"),
            ("OpenVINO, dense", some, lambda: by_openvino(path, tasks), "fp32"),
            ("ours, exact", packets, lambda: ours(model, "exact"), "fp32"),
            ("ours, bf16", some, lambda: ours(model, "bf16"), "bf16"),
        ]
        if more:
            compiled = lambda: by_torch(torch.compile(plain, dynamic=False))  # noqa: E731
            rows.append(("torch.compile, dense", some, compiled, "fp32"))
        print(f"{'':<24}{'packets/s':>10}{'x eager':>9}{'x onnx':>8}{'same':>9}{'off':>9}{'roofline':>10}")
        speeds: dict[str, float] = {}
        for name, given, make, kind in rows:
            if time.monotonic() > end:
                print(f"{name:<24}  skipped: the time is over")
                continue
            try:
                run = make()
                found = run(given)
                took = seconds(lambda run=run, given=given: run(given), 2.0)
            except Exception as error:  # a contender that is not installed, or fails
                print(f"{name:<24}  skipped: {' '.join(str(error).split())[:80]}")
                continue
            count = len(given[1]) - 1
            speeds[name] = speed = count / took
            ratios = [
                speed / speeds[other] if other in speeds else np.nan for other in (rows[0][0], rows[1][0])
            ]
            same, off = agreement({task: v[:count] for task, v in expected.items()}, found)
            dense_work = operations(model.network, None)
            share = f"{speed * (work if 'ours' in name else dense_work) / rates[kind]:>10.0%}" if kind else ""
            print(
                f"{name:<24}{speed:>10.1f}{ratios[0]:>9.1f}{ratios[1]:>8.1f}{same:>9.2%}{off:>9.1e}{share}",
                flush=True,
            )


def agreement(expected: Logits, found: Logits) -> tuple[float, float]:
    """Smallest share of equal first classes of a task, largest difference of a probability."""
    same = min(float((v.argmax(1) == found[task].argmax(1)).mean()) for task, v in expected.items())
    return same, max(float(np.abs(softmax(v) - softmax(found[task])).max()) for task, v in expected.items())


def softmax(values: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = np.exp(values.astype(np.float64) - values.max(1, keepdims=True))
    return wide / wide.sum(1, keepdims=True)


def by_length(model: LoadedModel, count: int) -> None:
    """Cost of a packet against its length."""
    plain = by_torch(model.network)
    print(f"\n{'bytes':<8}{'exact, ms':>11}{'eager, ms':>11}")
    for length in LENGTHS:
        samples = np.random.default_rng(length).integers(1, 256, (count, length), dtype=np.uint8)
        packets = samples.ravel(), np.arange(count + 1) * length
        exact = seconds(lambda: ours(model, "exact")(packets), 0.5) / count  # noqa: B023
        # The dense network takes as long whatever the length.
        eager = seconds(lambda: plain(first(packets, 16)), 0.5) / 16 if length in (40, 1500) else np.nan  # noqa: B023
        print(f"{length:<8}", *(f"{cell * 1e3:>11.2f}" for cell in (exact, eager)), sep="", flush=True)


def few_at_once(model: LoadedModel, packets: Ragged) -> None:
    """How long a verdict on few packets takes, as in a live capture."""
    small = load_model(find_model("iscx"))
    print(f"\n{'packets at once':<18}{'exact, ms':>11}{'iscx, ms':>11}")
    for count in (1, 10, 100):
        some = first(packets, count)
        cells = [seconds(lambda m=m: ours(m, "exact")(some), 0.5) for m in (model, small)]  # noqa: B023
        print(f"{count:<18}", *(f"{cell * 1e3:>11.2f}" for cell in cells), sep="", flush=True)


def fields(packets: Ragged) -> None:
    """The bundled default, in turn with the same network by PyTorch's operators; medians."""
    model, count = load_model(find_model("iscx")), len(packets[1]) - 1
    network = model.network
    own = ours(model, "exact")

    def by_pytorch(packets: Ragged) -> Logits:
        with torch.inference_mode():
            return {task: found.numpy() for task, found in network(pack(*packets, network)).items()}

    found, expected = own(packets), by_pytorch(packets)
    off = max(float(np.abs(np.exp(found[task]) - np.exp(expected[task])).max()) for task in found)
    times = np.array([[seconds(lambda r=r: r(packets)) for r in (own, by_pytorch)] for _ in range(5)])
    ours_s, theirs_s = np.median(times, axis=0)
    print(
        f"\niscx (network of fields): {count / ours_s:.0f} packets/s, {theirs_s / ours_s:.2f} x PyTorch's "
        f"{count / theirs_s:.0f}; largest difference of a probability {off:.1e}"
    )


def exactness(model: LoadedModel, folder: Path, count: int) -> None:
    """Ours beside the plain network, in fp32."""
    plain = by_torch(model.network)
    step = 1 if count >= 5_000 else 13
    lengths = np.arange(40, 1501, step)
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    every = rng.integers(1, 256, offsets[-1]).astype(np.uint8), offsets
    assert isinstance(model.network, MTC)
    assert engine_of(model.network) is not None
    for name, packets in (
        (f"{len(lengths)} lengths from 40 to 1500", every),
        ("real packets", test_packets(folder, count, "all")),
    ):
        live = live_tokens(*packets, model.network.config.width)
        expected = plain(packets)
        same, off = agreement(expected, ours(model, "exact")(packets))
        print(
            f"{name}: {len(live)} packets, {live.min()} to {live.max()} tokens with bytes; exact: largest "
            f"difference of a probability {off:.1e}, same first class {same:.3%}"
        )


if __name__ == "__main__":
    main()
