from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mtc.config import RunConfig
from mtc.datasets import Dataset
from mtc.errors import UsageError
from mtc.evaluation import compare_runs, pair_runs
from mtc.evaluation.predictions import predict
from mtc.training import train


def settings(name: str, seed: int, split: str = "flow") -> RunConfig:
    model = {"name": name, "forest_trees": 3, "leading_bytes": 30}
    return RunConfig.from_dict({"seed": seed, "data": {"split": split}, "model": model})


@pytest.fixture(scope="module")
def runs(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two models, two seeds of each, and one by packet."""
    folder, dataset = tmp_path_factory.mktemp("runs"), Dataset.open(small_dataset)
    for name in ("majority", "extra-trees"):
        for seed in (1, 2):
            train(settings(name, seed), dataset, folder / f"{name}-{seed}")
    train(settings("extra-trees", 1, "packet"), dataset, folder / "by-packet")
    return folder


def test_runs_are_paired_by_seed_whatever_their_order(runs: Path) -> None:
    named = [runs / name for name in ("majority-2", "extra-trees-1", "majority-1", "extra-trees-2")]
    assert pair_runs(named) == [(named[0], named[3]), (named[2], named[1])]
    assert pair_runs([named[1], named[0]]) == [(named[1], named[0])]  # one of each, of any seeds
    assert pair_runs([named[1], named[3]]) == [(named[1], named[3])]  # two seeds of one model


def test_what_cannot_be_paired_is_refused(runs: Path) -> None:
    trees, majority, by_packet = (runs / name for name in ("extra-trees-1", "majority-1", "by-packet"))
    with pytest.raises(UsageError, match="those of 3"):
        pair_runs([trees, majority, by_packet])
    with pytest.raises(UsageError, match="seed 2"):
        pair_runs([trees, majority, runs / "majority-2"])
    with pytest.raises(UsageError, match="same seed"):
        pair_runs([trees, majority, runs / "majority-2", majority])
    with pytest.raises(UsageError, match="cannot be paired"):
        compare_runs([(trees, by_packet)])


def test_scores_are_those_of_the_runs(runs: Path, small_dataset: Path) -> None:
    pairs = [(runs / f"majority-{seed}", runs / f"extra-trees-{seed}") for seed in (1, 2)]
    found = compare_runs(pairs)
    assert (found["split"], found["part"]) == ("flow", "test")
    assert found["tasks"].keys() == Dataset.open(small_dataset).tasks.keys()
    row = found["tasks"]["application"]["packet"]["all"]
    scores = []
    for pair in pairs:
        for run in pair:
            one = predict(run, part="test")
            y, z = one.labels["application"], one.logits["application"].argmax(axis=1)
            scores.append(f1_score(y, z, labels=np.unique(y), average="macro"))
    assert row["first"] == pytest.approx(np.mean(scores[::2]))
    assert row["second"] == pytest.approx(np.mean(scores[1::2]))
    assert row["by_pair"] == pytest.approx([scores[1] - scores[0], scores[3] - scores[2]])
    assert row["interval"][0] > 0.2
    assert row["counted"] == ("AIM Chat", "Email", "Spotify")
    flows = found["tasks"]["application"]["flow"]["all"]
    assert flows["flows"] == row["flows"]
    assert flows["second"] >= row["second"] - 0.05
    assert found["tasks"]["application"]["flow"]["common"] is None  # no class has 30 flows


def test_a_run_against_itself(runs: Path) -> None:
    same = compare_runs([(runs / "extra-trees-1", runs / "extra-trees-1")])["tasks"]["traffic"]
    for per in ("packet", "flow"):
        assert (same[per]["all"]["difference"], same[per]["all"]["interval"]) == (0.0, (0.0, 0.0))


def test_rows_of_features_are_flows(flows_model: Path) -> None:
    found = compare_runs([(flows_model, flows_model)])
    assert found["split"] == "honest"
    row = found["tasks"]["malicious"]["packet"]["all"]
    assert row["flows"] == len(predict(flows_model, part="test").samples)
