"""A dataset in memory and a network small enough to train in a second."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mtc.config import RunConfig
from mtc.datasets.samples import LabelledSamples
from mtc.training import train

TASKS = {"application": ("a", "b", "never"), "traffic": ("x", "y")}


def make_samples(n: int, seed: int) -> LabelledSamples:
    """Samples whose third byte tells the class; every fifth has no label for the second task."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(20, 48, n)
    application = rng.integers(0, 2, n)
    data = rng.integers(1, 120, lengths.sum()).astype(np.uint8)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    data[offsets[:-1] + 2] = 40 + 150 * application
    traffic = np.where(np.arange(n) % 5 == 0, -1, 1 - application)
    return LabelledSamples(
        data=data,
        offsets=offsets,
        labels={"application": application, "traffic": traffic},
        flow=(2 * (np.arange(n) // 6) + application).astype(np.int32),
        capture=np.zeros(n, np.int32),
        time=np.arange(n),
        row=np.arange(n),
    )


@dataclass
class MemoryDataset:
    """Stands for ``mtc.datasets.Dataset``."""

    path: Path = Path("memory")
    hash: str = "0" * 64
    tasks: dict[str, tuple[str, ...]] = field(default_factory=lambda: TASKS)
    parts: dict[str, LabelledSamples] = field(
        default_factory=lambda: {
            "train": make_samples(150, 1),
            "validation": make_samples(40, 2),
            "test": make_samples(50, 3),
        }
    )
    info: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(name="memory", kind="packets", features=None)
    )

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def columns(self, *names: str) -> dict[str, np.ndarray]:
        parts = [{"flow": part.flow, **part.labels} for part in self.parts.values()]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def part(self, split: str, part: str, *, mask: str = "paper") -> LabelledSamples:
        assert (split, mask) == ("flow", "paper")
        return self.parts[part]


@pytest.fixture(scope="module")
def dataset() -> MemoryDataset:
    return MemoryDataset()


@pytest.fixture(scope="module")
def settings() -> dict:
    """A network of 5 tokens of 10, and two epochs of five batches."""
    return {
        "seed": 3,
        "model": {"tokens": 5, "width": 10, "heads": 2, "ffn_width": 16, "repetitions": [1, 1, 1]},
        "train": {"epochs": 2, "batch_size": 32},
    }


@pytest.fixture(scope="module")
def config(settings: dict) -> RunConfig:
    return RunConfig.from_dict(settings)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undisturbed(config: RunConfig, dataset: MemoryDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run from start to end."""
    folder = tmp_path_factory.mktemp("run") / "undisturbed"
    train(config, dataset, folder)
    return folder
