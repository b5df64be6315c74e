"""A few fixed samples whose logits show what a network computes.

A faster form of a network is compared with its plain form on them before it is used. Their logits are stored
in ``model.json``, so that code which reads the model later can be checked against the code that saved it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.flows.sequences import FLOW_ROW, ROW_BYTES
from mtc.models.packed.values import Values

LENGTHS = (61, 403, 1500)
"""Bytes of the probes: a padding of nearly all tokens, of most of them, and none."""

_STARTS = (
    bytes.fromhex("4500003d0000400040060000") + bytes(8) + bytes.fromhex("c35001bb00000001000000015018"),
    bytes.fromhex("4500019300004000401100000000000000000000c35101bb"),
    bytes.fromhex("6000000005b40640") + bytes(32) + bytes.fromhex("c35201bb00000001000000015018"),
)
"""How they begin: IPv4 and TCP, IPv4 and UDP, IPv6 and TCP."""

ABSOLUTE, RELATIVE = 1e-4, 1e-3
"""Logits agree that differ by at most the first, or by the second as a share of the task's largest logit.

In single precision the forms of a trained network differ by 1e-6 to 1e-5 of its largest logit, which is
rounding; of another formula (post-norm for pre-norm, say) by a tenth and more."""


def probe_samples(config: ModelConfig) -> tuple[Values, NDArray[np.int64]]:
    """The samples, one after another, and where each begins and ends.

    Returns:
        uint8 (bytes,) or, for a network that reads features, float32 in [0, 1]; and int64 (4,).
    """
    # From a hash, not from a generator of random numbers, whose numbers could change with its library.
    noise = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(64))
    noise = bytes(value or 1 for value in noise)  # no zeros: the last byte decides what is padding
    if config.reads_flows:
        rows = b"".join(bytes([FLOW_ROW]) + noise[i : i + ROW_BYTES - 1] for i in range(len(LENGTHS)))
        return np.frombuffer(rows, np.uint8), np.arange(len(LENGTHS) + 1) * ROW_BYTES
    if config.length != max(LENGTHS):
        values = np.frombuffer(noise, np.uint8)[: 3 * config.length].astype(np.float32) / np.float32(255)
        return np.resize(values, 3 * config.length), np.arange(4) * config.length
    samples = [
        (start + noise[i:] + noise)[:length]
        for i, (start, length) in enumerate(zip(_STARTS, LENGTHS, strict=True))
    ]
    return np.frombuffer(b"".join(samples), np.uint8), np.concatenate([[0], np.cumsum(LENGTHS)])


def network_code() -> str:
    """SHA-256 of the source of the plain networks that have an engine.

    A stored model is computed without PyTorch only by the code that it was saved with: the engines are
    transcriptions of it, and what was changed since is in the network alone.
    """
    folder = Path(__file__).parent
    files = [*sorted((folder / "networks").glob("*.py")), folder / "fields" / "network.py"]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """Largest difference of a logit; 0 where all agree to within rounding.

    Args:
        expected: Task -> (N, classes).
        found: The same, of another form.
    """
    largest = 0.0
    for task, values in expected.items():
        one, two = np.asarray(values, np.float64), np.asarray(found[task], np.float64)
        if one.shape != two.shape:
            return float("inf")
        apart = np.where(np.isfinite(one) & np.isfinite(two), np.abs(one - two), np.inf)
        apart[(one == two) | (np.isnan(one) & np.isnan(two))] = 0.0
        finite = np.abs(one[np.isfinite(one)])
        if apart.max(initial=0.0) > ABSOLUTE + RELATIVE * finite.max(initial=0.0):
            largest = max(largest, float(apart.max()))
    return largest
