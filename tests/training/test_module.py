import numpy as np
import pytest
import torch
from torch.nn import functional

from mtc.training.module import class_weights, multi_task_loss

WEIGHTS = {"application": 6.0, "traffic": 2.0}


def batch(seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    logits = {
        name: torch.randn(8, n, generator=rng, requires_grad=True)
        for name, n in {"application": 5, "traffic": 3, "unnamed": 2}.items()
    }
    labels = {name: torch.randint(0, v.shape[1], (8,), generator=rng) for name, v in logits.items()}
    return logits, labels


def test_is_the_weighted_mean_of_the_cross_entropies() -> None:
    logits, labels = batch()
    parts = [w * functional.cross_entropy(logits[t], labels[t]) for t, w in WEIGHTS.items()]
    unnamed = functional.cross_entropy(logits["unnamed"], labels["unnamed"])  # weighs 1
    expected = (sum(parts) + unnamed) / (6 + 2 + 1)
    assert multi_task_loss(logits, labels, WEIGHTS).item() == pytest.approx(expected.item())


def test_a_packet_without_a_label_adds_nothing_to_that_task() -> None:
    logits, labels = batch()
    labels["traffic"][:3] = -1
    loss = multi_task_loss(logits, labels, WEIGHTS)
    loss.backward()
    assert not logits["traffic"].grad[:3].any()
    assert logits["traffic"].grad[3:].any()
    alone = functional.cross_entropy(logits["traffic"][3:], labels["traffic"][3:])
    others = {name: v for name, v in logits.items() if name != "traffic"}
    rest = sum(WEIGHTS.get(t, 1.0) * functional.cross_entropy(v, labels[t]) for t, v in others.items())
    assert loss.item() == pytest.approx(((2 * alone + rest) / 9).item())


def test_a_task_without_labels_adds_nothing_and_is_no_error() -> None:
    logits, labels = batch()
    labels["application"][:] = -1
    loss = multi_task_loss(logits, labels, WEIGHTS)
    loss.backward()
    assert torch.isfinite(loss)
    assert not logits["application"].grad.any()


def test_only_the_ratio_of_the_weights_counts() -> None:
    logits, labels = batch()
    loss = multi_task_loss(logits, labels, {"application": 6, "traffic": 2, "unnamed": 1})
    scaled = multi_task_loss(logits, labels, {"application": 12, "traffic": 4, "unnamed": 2})
    assert loss.item() == pytest.approx(scaled.item())


def test_members_learn_side_by_side() -> None:
    logits, labels = batch()
    labels["traffic"][:3] = -1
    twins = {task: torch.stack([values, values], 1) for task, values in logits.items()}
    assert multi_task_loss(twins, labels, WEIGHTS).item() == pytest.approx(
        multi_task_loss(logits, labels, WEIGHTS).item()
    )
    mixed = {
        task: torch.stack([values, values + 1.5 * values.detach()], 1) for task, values in logits.items()
    }
    other = {task: 2.5 * values for task, values in logits.items()}
    mean = (multi_task_loss(logits, labels, WEIGHTS) + multi_task_loss(other, labels, WEIGHTS)) / 2
    assert multi_task_loss(mixed, labels, WEIGHTS).item() == pytest.approx(mean.item())


def test_smoothing_spreads_a_share_of_the_label() -> None:
    logits, labels = {"one": torch.randn(6, 4)}, {"one": torch.tensor([0, 1, 2, 3, -1, 0])}
    expected = functional.cross_entropy(logits["one"], labels["one"], ignore_index=-1, label_smoothing=0.1)
    assert multi_task_loss(logits, labels, {}, smoothing=0.1).item() == pytest.approx(expected.item())


def test_classes_weigh_by_the_power_of_their_size() -> None:
    labels = np.array([0] * 16 + [1] * 4 + [3] + [-1] * 9)
    np.testing.assert_allclose(class_weights(labels, 4, 0.0), [1, 1, 0, 1])
    weights = class_weights(labels, 4, 0.5).numpy()
    np.testing.assert_allclose(weights[[1, 3]] / weights[0], [2, 4])
    assert weights[2] == 0  # no sample
    assert weights[labels[labels >= 0]].mean() == pytest.approx(1)
    whole = class_weights(labels, 4, 1.0).numpy()
    np.testing.assert_allclose(whole[[0, 1, 3]] * [16, 4, 1], [7, 7, 7])
    assert not class_weights(np.full(3, -1), 2, 0.5).any()


def test_the_loss_weighs_classes() -> None:
    logits, labels = {"one": torch.randn(6, 3)}, {"one": torch.tensor([0, 1, 1, -1, 2, 0])}
    weights = torch.tensor([0.5, 2.0, 1.0])
    each = functional.cross_entropy(logits["one"], labels["one"].clamp(min=0), reduction="none")
    known = labels["one"] >= 0
    expected = (each * weights[labels["one"]])[known].sum() / 5
    assert multi_task_loss(logits, labels, {}, balance={"one": weights}).item() == pytest.approx(
        expected.item()
    )
