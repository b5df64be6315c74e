"""What the tests of the networks share."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The plain dense transcription of the paper in benchmarks/reference.py."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ragged():
    """Function: lengths -> (data, offsets, the same samples dense as float32 in [0, 1])."""

    def make(lengths, size=1500, seed=0):
        rng = np.random.default_rng(seed)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        data = rng.integers(1, 256, offsets[-1], dtype=np.uint8)
        dense = np.zeros((len(lengths), size), np.float32)
        for i, length in enumerate(lengths):
            dense[i, :length] = data[offsets[i] : offsets[i + 1]] / np.float32(255)
        return data, offsets, torch.from_numpy(dense)

    return make
