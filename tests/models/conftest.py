"""What the tests of the networks share."""

import json

import numpy as np
import pytest
import torch


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


@pytest.fixture
def without_fingerprint():
    """Function: a model's folder -> its files as they were before version 3, without hashes and logits."""

    def change(folder):
        path = folder / "model.json"
        values = json.loads(path.read_text())
        del values["fingerprint"]
        path.write_text(json.dumps(values | {"format_version": 2}))

    return change
