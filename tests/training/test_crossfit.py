"""Models of flows: fitted fold by fold, written, loaded without PyTorch, and used on captures."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtc.config import RunConfig
from mtc.datasets import Dataset, build_captures
from mtc.errors import DatasetError, ModelError, UsageError
from mtc.flows.augment import CUTS
from mtc.flows.stream import read_sequences
from mtc.inference import Classifier
from mtc.models import load_model
from mtc.models.shallow.trees import ARRAYS, array_name, check_forest
from mtc.training.crossfit import crossfit, fit, predict, write_crossfit
from mtc.training.scoring.cuts import add_copies, choose_threshold, cut_to, separation

CONFIG = RunConfig.from_dict(
    {
        "seed": 1,
        "data": {"split": "group:program", "mask": "nameless", "copies": 2},
        "model": {"name": "extra-trees", "shallow_inputs": "flows", "forest_trees": 30},
    }
)


@pytest.fixture(scope="module")
def dataset(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Plain recordings of the laboratory."""
    folder = tmp_path_factory.mktemp("lab")
    with (shared_data / "lab" / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["tunnel"] == "plain"]
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["capture", "traffic", "program"], extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "capture": str(shared_data / "lab" / row["capture"])})
    build_captures(folder / "labels.csv", folder / "out", kind="flows", tasks=["traffic"], folds=3, workers=1)
    return Dataset.open(folder / "out")


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("run") / "model"
    metrics = write_crossfit(crossfit(CONFIG, dataset), dataset, folder)
    return folder, metrics


def test_every_program_is_predicted_by_models_that_never_saw_it(dataset: Dataset) -> None:
    found = crossfit(CONFIG, dataset)
    column = dataset.columns("group_program", "fold_group:program")
    program, fold = (column[name][found.samples.row] for name in ("group_program", "fold_group:program"))
    assert len(found.samples) == len(dataset)
    rows = np.flatnonzero(fold == 1)
    assert not set(program[rows].tolist()) & set(program[fold != 1].tolist())
    others = found.samples.take(np.flatnonzero(fold != 1))
    expected = predict(fit(CONFIG, found.tasks, others), found.samples.take(rows))["traffic"]
    np.testing.assert_allclose(found.logits[CUTS[-1]]["traffic"][rows], expected, atol=1e-6)
    counts = found.samples.data.reshape(len(found.samples), -1)[:, 2]
    assert (np.isnan(found.logits[10]["traffic"][:, 0]) == (counts < 10)).all()


def test_the_card_has_confidence_after_every_number_of_packets(run: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = run
    card = load_model(folder).card
    for packets in CUTS:
        assert f"flow/{packets}" in card.calibration["traffic"]
        assert 0 < card.reject["traffic"][f"flow/{packets}"]["threshold"] <= 1
    cuts = metrics["cuts"]["traffic"]
    assert [int(packets) for packets in cuts] == list(CUTS)
    assert cuts["20"]["accuracy"] > cuts["1"]["accuracy"]
    assert 0.3 < metrics["flow_parts"]["test"]["traffic"]["macro_f1"] < 0.95


def test_the_stored_trees_say_what_the_network_says(
    shared_data: Path, run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    capture = next((shared_data / "lab" / "captures").glob("plain_aiortc*"))
    classifier = Classifier.load(run[0])
    rows, records, _ = read_sequences(capture)
    by_sequence = classifier.predict(rows)["traffic"]
    verdicts = classifier.classify(capture)
    by_capture = [row["traffic"]["probabilities"] for row in verdicts if row["traffic"]]
    assert len(by_capture) == len(records)
    for row, found in zip(by_sequence, by_capture, strict=True):
        np.testing.assert_allclose(row, [found[label] for label in classifier.tasks["traffic"]], atol=2e-6)
    model = load_model(run[0])
    engine = model.row_logits(rows)["traffic"]
    np.testing.assert_allclose(engine, predict(model.network, _samples(rows))["traffic"], atol=1e-5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="classifies flows"):
        next(iter(classifier.classify_packets([], [])))


def _samples(rows: np.ndarray) -> Any:
    class Rows:
        data, offsets = rows.reshape(-1), np.arange(len(rows) + 1) * rows.shape[1]

    return Rows()


def test_early_verdicts_read_only_the_first_packets(
    shared_data: Path, run: tuple[Path, dict[str, Any]]
) -> None:
    capture = next((shared_data / "lab" / "captures").glob("plain_baresip*"))
    classifier = Classifier.load(run[0])
    rows, _, _ = read_sequences(capture)
    cut = rows.copy()
    cut[:, 2] = np.minimum(cut[:, 2], 1)
    probabilities = classifier.predict(cut)["traffic"]
    early = [
        row["traffic"]["confidence"]
        for row in classifier.classify(capture, early=0.01, reject=False)
        if row["traffic"]
    ]
    np.testing.assert_allclose(early, probabilities.max(1), atol=2e-6)


def test_no_pytorch_is_needed_to_classify(shared_data: Path, run: tuple[Path, dict[str, Any]]) -> None:
    capture = next((shared_data / "lab" / "captures").glob("plain_curl*"))
    code = (
        "import sys, mtc\n"
        f"rows = list(mtc.Classifier.load({str(run[0])!r}).classify({str(capture)!r}))\n"
        "assert rows and rows[0]['traffic']\n"
        "assert not {'torch', 'sklearn', 'lightgbm'} & set(sys.modules), set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_damaged_trees_are_refused(run: tuple[Path, dict[str, Any]]) -> None:
    from safetensors.numpy import load_file

    weights = load_file(run[0] / "model.safetensors")
    forest = {name: weights[array_name(0, name)].copy() for name in ARRAYS}
    forest["shares"] = forest["shares"].astype(np.float32)
    classes = forest["shares"].shape[1]
    check_forest(forest, "traffic", classes, 200)
    for name, value in (("children", 0), ("feature", 200), ("roots", -1), ("leaf", 1 << 30)):
        damaged = {**forest, name: np.full_like(forest[name], value)}
        with pytest.raises(ModelError, match="damaged"):
            check_forest(damaged, "traffic", classes, 200)


def test_copies_stand_behind_the_flows_and_keep_their_labels(dataset: Dataset) -> None:
    samples = dataset.part("flow", "train")
    more = add_copies(samples, 2, seed=3)
    assert len(more) == 3 * len(samples)
    assert (more.labels["traffic"] == np.tile(samples.labels["traffic"], 3)).all()
    assert (more.row[: len(samples)] == samples.row).all()
    assert (more.row[len(samples) :] == -1).all()
    cut = cut_to(samples, 5)
    assert set(cut.data.reshape(len(cut), -1)[:, 2].tolist()) == {5}


def test_the_threshold_is_the_lowest_that_is_right_often_enough() -> None:
    sure = np.linspace(0.99, 0.5, 100)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = np.where(np.arange(100) < 60, 0, 1)  # the 60 surest are right, the rest are wrong
    found = choose_threshold(probabilities, labels)
    assert found["threshold"] == pytest.approx(sure[79])  # 60 of 80 right: three quarters
    assert found["kept"] == pytest.approx(0.8)
    assert found["auroc"]["probability"] == pytest.approx(1.0)


def test_separation_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 9, 300) / 9, rng.random(300) < 0.3
    assert separation(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_a_dataset_of_packets_is_refused(shared_data: Path, tmp_path: Path) -> None:
    capture = next((shared_data / "lab" / "captures").glob("plain_curl*"))
    (tmp_path / "labels.csv").write_text(f"capture,traffic\n{capture},Web\n")
    build_captures(tmp_path / "labels.csv", tmp_path / "out", folds=3, workers=1)
    with pytest.raises(DatasetError, match="holds packets, not flows"):
        crossfit(CONFIG, Dataset.open(tmp_path / "out"))


def test_flows_are_trained_by_a_recipe_too(dataset: Dataset, tmp_path: Path) -> None:
    from mtc.training import train

    metrics = train(CONFIG, dataset, tmp_path / "run")
    assert metrics["parts"]["test"]["traffic"]["support"] > 0
    assert Classifier.load(tmp_path / "run").reads_flows
    with pytest.raises(UsageError, match="holds flows, and the model reads no sequences"):
        train(RunConfig(), dataset, tmp_path / "other")
