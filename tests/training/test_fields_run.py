from pathlib import Path

import pytest

from mtc.config import load_recipe
from mtc.datasets import Dataset
from mtc.models import load_model
from mtc.training import train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["packets", "flows"])
def test_the_network_of_fields_learns_and_resumes(
    kind: str, small_dataset: Path, flows_dataset: Path, tmp_path: Path
) -> None:
    name, folder, task = {
        "packets": ("iscx-fields", small_dataset, "application"),
        "flows": ("cicids2017-fields", flows_dataset, "malicious"),
    }[kind]
    small = ["model.members=2", "model.dense_widths=[32, 32]", "train.batch_size=32", "train.epochs=20"]
    dataset, recipe = Dataset.open(folder), load_recipe(name, small)
    metrics = train(recipe, dataset, tmp_path / "run")
    assert metrics["parts"]["test"][task]["macro_f1"] > 0.9
    model = load_model(tmp_path / "run")
    assert model.network.edges.any()  # quantiles are part of the model
    train(load_recipe(name, [*small, "seed=3"]), dataset, tmp_path / "tuned", init=tmp_path / "run")
