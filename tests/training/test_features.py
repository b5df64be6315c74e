"""Flow features in training: what is fitted on what, and both orders of balancing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtc.config import RunConfig, load_recipe
from mtc.datasets import Dataset, LabelledSamples, QuantileScaler
from mtc.datasets.flow_features.samples import balance_samples, scale_samples
from mtc.errors import UsageError
from mtc.evaluation import evaluate
from mtc.files import read_json
from mtc.models import load_model
from mtc.training.plan import prepare_parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe() -> RunConfig:
    return load_recipe("cicids2017-mtc")


@pytest.fixture(scope="module")
def flows(flows_dataset: Path) -> Dataset:
    return Dataset.open(flows_dataset)


def parts_of(dataset: Dataset, split: str) -> tuple[LabelledSamples, LabelledSamples]:
    return dataset.part(split, "train"), dataset.part(split, "validation")


def test_transform_is_fitted_on_training_rows_alone(flows: Dataset, recipe: RunConfig) -> None:
    train, validation = parts_of(flows, "honest")
    _, _, scaler = prepare_parts(recipe, flows, train, validation)
    assert scaler is not None
    assert np.array_equal(scaler.quantiles, QuantileScaler.fit(train.dense()).quantiles)
    # Whatever stands in the other parts changes nothing, though it would move every quantile ...
    far = replace(validation, data=validation.data * 1000 + 1e6)
    _, shifted, again = prepare_parts(recipe, flows, train, far)
    assert again is not None
    assert np.array_equal(again.quantiles, scaler.quantiles)
    assert (shifted.data == 1).all()
    # ... and the rows that are synthesised from the training rows change nothing either.
    plain = replace(recipe, data=replace(recipe.data, balance="none"))
    _, _, unbalanced = prepare_parts(plain, flows, train, validation)
    assert unbalanced is not None
    assert np.array_equal(unbalanced.quantiles, scaler.quantiles)
    everything = QuantileScaler.fit(flows.part("honest", "all").dense())
    assert not np.array_equal(everything.quantiles, scaler.quantiles)


def test_model_holds_the_transform_of_its_training_rows(flows: Dataset, flows_model: Path) -> None:
    scaler = load_model(flows_model).scaler
    assert scaler is not None
    expected = QuantileScaler.fit(flows.part("honest", "train").dense())
    assert np.array_equal(scaler.quantiles, expected.quantiles)


def test_honest_balances_training_rows_only(flows: Dataset, recipe: RunConfig) -> None:
    train, validation = parts_of(flows, "honest")
    before = np.bincount(train.labels["attack"], minlength=6)
    prepared, seen, _ = prepare_parts(recipe, flows, train, validation)
    after = np.bincount(prepared.labels["attack"], minlength=6)
    scale = before[0] / 2_035_505
    assert after[0] == round(1_330_000 * scale)
    assert after[1] == max(before[1], round(350_000 * scale))  # DoS/DDoS: larger already
    assert after[1] == before[1]
    assert after[4] == max(before[4], round(65_500 * scale))
    assert len(seen) == len(validation)
    assert np.array_equal(seen.labels["attack"], validation.labels["attack"])
    made = prepared.row == -1
    assert made.sum() == after.sum() - before[1:].sum() - after[0]
    assert (prepared.capture[made] == -1).all()
    assert np.array_equal(prepared.labels["malicious"], (prepared.labels["attack"] != 0).astype(np.int64))
    # Rows that were read are those of the training part, scaled.
    scaler = QuantileScaler.fit(train.dense())
    scaled = {
        int(row): values for row, values in zip(train.row, scaler.transform(train.dense()), strict=True)
    }
    for row, values in zip(prepared.row[~made], prepared.dense()[~made], strict=True):
        assert np.array_equal(values, scaled[int(row)])


def test_rare_classes_grow_from_their_own_rows(flows: Dataset) -> None:
    train = flows.part("honest", "train")
    rare = np.flatnonzero(train.labels["attack"] == 4)[:3]
    few = train.take(np.concatenate([np.flatnonzero(train.labels["attack"] == 0), rare]))
    scaler = QuantileScaler.fit(few.dense())
    balanced = balance_samples(scale_samples(few, scaler), flows.tasks, seed=1)
    target = round(65_500 * (few.labels["attack"] == 0).sum() / 2_035_505)
    assert target > 3
    assert (balanced.labels["attack"] == 4).sum() == target
    values = scaler.transform(few.dense()[-3:])
    made = balanced.dense()[balanced.row == -1]
    assert len(made) == target - 3
    assert (made >= values.min(axis=0) - 1e-6).all()
    assert (made <= values.max(axis=0) + 1e-6).all()
    again = balance_samples(scale_samples(few, scaler), flows.tasks, seed=1)
    assert np.array_equal(again.data, balanced.data)
    other = balance_samples(scale_samples(few, scaler), flows.tasks, seed=2)
    assert not np.array_equal(other.data, balanced.data)


def test_paper_is_not_balanced_twice(flows: Dataset, recipe: RunConfig) -> None:
    paper = replace(recipe, data=replace(recipe.data, split="paper"))
    train, validation = parts_of(flows, "paper")
    prepared, _, scaler = prepare_parts(paper, flows, train, validation)
    assert np.array_equal(prepared.row, train.row)
    assert scaler is not None
    assert np.array_equal(scaler.quantiles, QuantileScaler.fit(train.dense()).quantiles)


def test_what_does_not_fit_is_refused(flows: Dataset, recipe: RunConfig, small_dataset: Path) -> None:
    parts = parts_of(flows, "honest")
    with pytest.raises(UsageError, match="cicids2017-mtc"):
        prepare_parts(load_recipe("iscx-mtc"), flows, *parts)
    packets = Dataset.open(small_dataset)
    train, validation = parts_of(packets, "flow")
    with pytest.raises(UsageError, match="flow features"):
        prepare_parts(recipe, packets, train, validation)
    same = prepare_parts(load_recipe("iscx-mtc"), packets, train, validation)
    assert same == (train, validation, None)
    scaler = QuantileScaler.fit(parts[0].dense())
    with pytest.raises(UsageError, match="reads flow features, the dataset holds packets"):
        scale_samples(train, scaler)
    with pytest.raises(UsageError, match="reads packets, the dataset holds flow features"):
        scale_samples(parts[0], None)
    with pytest.raises(UsageError, match="attack"):
        balance_samples(train, packets.tasks, seed=1)


def test_run_and_evaluation_agree(flows: Dataset, flows_model: Path) -> None:
    metrics = read_json(flows_model / "metrics.json")
    card = load_model(flows_model).card
    assert metrics["protocol"] == "honest"
    rows = np.bincount(flows.part("honest", "train").labels["attack"])
    assert card.dataset["train_rows"] == rows[1:].sum() + round(1_330_000 * rows[0] / 2_035_505)
    assert card.dataset["synthesised_rows"] == 0
    assert card.absent["attack"] == ["PortScan", "Brute force", "Botnet ARES"]
    again = evaluate(flows_model, flows, "test")
    for task in ("attack", "malicious"):
        assert again["parts"]["test"][task] == metrics["parts"]["test"][task]
        # A row is a flow: both verdicts are scored on the same rows.
        assert again["flow_parts"]["test"][task]["support"] == len(flows.part("honest", "test"))


def test_hidden_features_tell_nothing(flows: Dataset, small_dataset: Path) -> None:
    train, validation = parts_of(flows, "honest")
    hidden = load_recipe("cicids2017-mtc", ['data.hide=["Destination Port"]', "data.balance=none"])
    seen, _, scaler = prepare_parts(hidden, flows, train, validation)
    plain, _, _ = prepare_parts(
        load_recipe("cicids2017-mtc", ["data.balance=none"]), flows, train, validation
    )
    assert scaler is not None
    selected = list(flows.info.features.selected)  # type: ignore[union-attr]
    port = selected.index("Destination Port")
    assert not seen.dense()[:, port].any()
    assert plain.dense()[:, port].any()
    others = np.arange(len(selected)) != port
    assert np.array_equal(seen.dense()[:, others], plain.dense()[:, others])
    odd = np.zeros((4, len(selected)))
    odd[:, port] = [np.inf, -np.inf, np.nan, 1e30]
    assert not scaler.transform(odd)[:, port].any()
    again = QuantileScaler.from_dict(scaler.to_dict())  # as a model file holds it
    assert not again.transform(odd)[:, port].any()
    for split, dataset in (("honest", flows), ("flow", Dataset.open(small_dataset))):
        with pytest.raises(UsageError, match=r"data\.hide"):
            prepare_parts(
                load_recipe("cicids2017-mtc", ['data.hide=["Port"]', "data.balance=none"]),
                dataset,
                *parts_of(dataset, split),
            )
