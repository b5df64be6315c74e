from typing import Any

import numpy as np
import torch

from mtc.config import RunConfig
from mtc.models import build_network, pack
from mtc.training.batches import EpochOrder, PackedLoader


def loader(dataset: Any, config: RunConfig) -> PackedLoader:
    network = build_network(config.model, dataset.tasks)
    return PackedLoader(dataset.parts["train"], network, config)


def labels_of(batches: Any) -> list[list[int]]:
    return [batch.labels["application"].tolist() for batch in batches]


def test_every_sample_once_in_an_order_of_seed_and_epoch_alone() -> None:
    order = EpochOrder(100, seed=5)
    first = order.permutation()
    assert sorted(first) == list(range(100))
    order.set_epoch(1)
    assert order.permutation().tolist() != first.tolist()
    order.set_epoch(0)
    assert order.permutation().tolist() == first.tolist()
    assert EpochOrder(100, seed=6).permutation().tolist() != first.tolist()


def test_batches_are_packed_samples_with_their_labels(dataset: Any, config: RunConfig) -> None:
    batches, samples = loader(dataset, config), dataset.parts["train"]
    order = batches.sampler.permutation()
    got = list(batches)
    assert [len(batch) for batch in got] == [32, 32, 32, 32, 22]
    assert len(batches) == 5
    for i, batch in enumerate(got):
        taken = samples.take(order[32 * i : 32 * (i + 1)])
        assert batch.labels["traffic"].tolist() == taken.labels["traffic"].tolist()
        packed = pack(taken.data, taken.offsets, batches._network, layout="copied")
        assert torch.equal(batch.packed.values, packed.values)


def test_lengths_are_mixed(dataset: Any, config: RunConfig) -> None:
    lengths = np.diff(dataset.parts["train"].offsets)
    order = EpochOrder(150, seed=3).permutation()
    means = [lengths[order[start : start + 32]].mean() for start in range(0, 128, 32)]
    assert max(means) - min(means) < 5  # samples have 20 to 47 bytes; sorted batches would span 20


def test_goes_on_behind_the_batches_taken(dataset: Any, config: RunConfig) -> None:
    undisturbed = labels_of(loader(dataset, config))
    begun = loader(dataset, config)
    iterator = iter(begun)
    for _ in range(2):
        next(iterator)
    resumed = loader(dataset, config)
    resumed.load_state_dict(begun.state_dict())
    assert labels_of(resumed) == undisturbed[2:]
    assert labels_of(resumed) == undisturbed  # only the broken epoch is shortened


def test_a_finished_epoch_is_not_skipped(dataset: Any, config: RunConfig) -> None:
    finished = loader(dataset, config)
    undisturbed = labels_of(finished)
    resumed = loader(dataset, config)
    resumed.load_state_dict(finished.state_dict())
    assert labels_of(resumed) == undisturbed
