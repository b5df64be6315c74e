import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtc.config import RunConfig, load_recipe
from mtc.datasets import Dataset
from mtc.errors import OutputError
from mtc.models import load_model, predict_logits
from mtc.training import train

pytestmark = pytest.mark.slow

NAMES = ("gradient-boosting", "extra-trees", "nearest-neighbour", "majority")


def settings(name: str, **model: object) -> RunConfig:
    return RunConfig.from_dict(
        {"model": {"name": name, "boosting_rounds": 20, "forest_trees": 20, "leading_bytes": 60, **model}}
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_a_shallow_model_is_a_run(name: str, small_dataset: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(small_dataset)
    metrics = train(settings(name), dataset, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    assert metrics["model"] == name
    assert metrics["protocol"] == "flow"
    score = metrics["parts"]["test"]["application"]["macro_f1"]
    assert score < 0.3 if name == "majority" else score > 0.9  # a byte tells the class
    model = load_model(tmp_path / "run")
    assert model.card.reject.keys() == dataset.tasks.keys()
    test = dataset.part("flow", "test")
    logits = predict_logits(model.network, test.data, test.offsets)["application"]
    right = (logits.argmax(axis=1) == test.labels["application"]).mean()
    assert right == pytest.approx(metrics["parts"]["test"]["application"]["accuracy"])


def test_the_same_seed_gives_the_same_scores(small_dataset: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(small_dataset)
    clock = ("minutes", "train_samples_per_s")
    for name in ("gradient-boosting", "extra-trees"):
        runs = [train(settings(name), dataset, tmp_path / f"{name}{i}") for i in range(2)]
        first, second = ({k: v for k, v in run.items() if k not in clock} for run in runs)
        assert first == second


def test_folders_are_kept_resumed_and_replaced_as_those_of_networks(
    small_dataset: Path, tmp_path: Path
) -> None:
    dataset = Dataset.open(small_dataset)
    train(settings("majority"), dataset, tmp_path)
    with pytest.raises(OutputError):
        train(settings("majority"), dataset, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    train(settings("majority"), dataset, tmp_path, resume=True)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    train(settings("gradient-boosting"), dataset, tmp_path, force=True)
    assert (tmp_path / "lightgbm-0.txt").is_file()
    train(settings("majority"), dataset, tmp_path, force=True)
    assert not list(tmp_path.glob("lightgbm-*.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_flow_features(name: str, flows_dataset: Path, tmp_path: Path) -> None:
    recipe = load_recipe(f"cicids2017-{name}", ["model.boosting_rounds=10", "model.forest_trees=10"])
    metrics = train(recipe, Dataset.open(flows_dataset), tmp_path / "run")
    score = metrics["parts"]["test"]["malicious"]["macro_f1"]
    assert score < 0.6 if name == "majority" else score > 0.9
    assert load_model(tmp_path / "run").scaler is not None


def test_the_metrics_tell_rare_classes_and_intervals(small_dataset: Path, tmp_path: Path) -> None:
    metrics: dict[str, Any] = train(settings("extra-trees"), Dataset.open(small_dataset), tmp_path / "run")
    scores = metrics["flow_parts"]["test"]["application"]
    assert scores["common"]["left_out"] == ["AIM Chat", "Email", "Spotify"]  # 20 flows each
    assert scores["common"]["macro_f1"] is None
    low, high = scores["interval"]["macro_f1"]
    assert low <= scores["macro_f1"] <= high
    assert np.sum(scores["confusion"]) == scores["support"]
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert "confusion" not in card["metrics"]["parts"]["test"]["application"]
