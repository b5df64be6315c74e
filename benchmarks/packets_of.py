"""The packets that the benchmarks of the networks run on."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mtc

Ragged = tuple[NDArray[np.uint8], NDArray[np.int64]]


def real_packets(count: int, seed: int = 0) -> tuple[Ragged, str]:
    """Random packets of iscx-mini where it is there, else of the bundled demo capture.

    Returns:
        ``(data, offsets)``, trailing zeros left out, and what the packets are.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MTC_DATA", default)) / "iscx-mini"
    if folder.is_dir():
        captures, name = sorted(folder.glob("*.pcap")), "iscx-mini"
    else:
        captures, name = [Path(mtc.__file__).parent / "assets" / "demo.pcap"], "the bundled capture"
    samples = np.concatenate([mtc.read_samples(capture).samples for capture in captures])
    chosen = np.random.default_rng(seed).choice(len(samples), count, replace=len(samples) < count)
    return ragged(samples[chosen]), name


def full_packets(count: int, seed: int = 0) -> Ragged:
    """Random packets that fill the whole sample."""
    samples = np.random.default_rng(seed).integers(1, 256, (count, 1500), dtype=np.uint8)
    return ragged(samples)


def ragged(samples: NDArray[np.uint8]) -> Ragged:
    """Samples without their trailing zeros."""
    live = samples != 0
    lengths = np.where(live.any(1), samples.shape[1] - live[:, ::-1].argmax(1), 0)
    inside = np.arange(samples.shape[1]) < lengths[:, None]
    return samples[inside], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def dense(packets: Ragged) -> NDArray[np.float32]:
    """float32 (N, 1500) in [0, 1], as the reference takes them."""
    data, offsets = packets
    lengths = np.diff(offsets)
    out = np.zeros((len(lengths), 1500), np.float32)
    out[np.arange(1500) < lengths[:, None]] = data / np.float32(255)
    return out
