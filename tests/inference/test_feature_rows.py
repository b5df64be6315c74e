"""Verdicts on rows of flow features."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mtc.cli import app
from mtc.datasets import FEATURES, SELECTED, Dataset
from mtc.datasets.flow_features.features import positions
from mtc.errors import UsageError
from mtc.inference import Classifier
from mtc.models import predict_logits, predict_probabilities


@pytest.fixture(scope="module")
def classifier(flows_model: Path) -> Classifier:
    return Classifier.load(flows_model, precision="exact")


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["classify", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_probabilities_are_the_networks(classifier: Classifier, flows_dataset: Path) -> None:
    table = Dataset.open(flows_dataset)
    values = np.column_stack([table.column(name).to_numpy() for name in FEATURES])
    read = ~table.column("synthetic").to_numpy()
    found = classifier.predict(values[read])
    model = classifier.model
    assert model.scaler is not None
    scaled = model.scaler.transform(values[read][:, positions(SELECTED)])
    logits = predict_logits(model.network, scaled.reshape(-1), np.arange(len(scaled) + 1) * 49)
    expected = predict_probabilities(logits, model.temperatures("packet"), model.absent)
    for task, classes in classifier.tasks.items():
        assert found[task].shape == (int(read.sum()), len(classes))
        assert np.array_equal(found[task], expected[task])
        assert np.allclose(found[task].sum(axis=1), 1, atol=1e-5)
    # Classes without training rows are never predicted.
    assert not found["attack"][:, [2, 3, 5]].any()


def test_every_value_gets_a_verdict(classifier: Classifier) -> None:
    model = classifier.model
    assert model.scaler is not None
    odd = np.full((3, 78), [[np.nan], [np.inf], [1e300]])
    plain = np.zeros((3, 78))
    plain[1:, positions(SELECTED)] = model.scaler.quantiles[-1]
    assert all(np.isfinite(p).all() for p in classifier.predict(odd).values())
    for task, expected in classifier.predict(plain).items():
        assert np.array_equal(classifier.predict(odd)[task], expected)
    assert classifier.predict(np.empty((0, 78)))["malicious"].shape == (0, 2)


@pytest.mark.parametrize("wrong", [np.zeros((2, 49)), np.zeros(78), np.full((1, 78), "1")])
def test_wrong_arrays_are_refused(classifier: Classifier, wrong: np.ndarray[Any, Any]) -> None:
    with pytest.raises(UsageError, match="78"):
        classifier.predict(wrong)


def test_a_line_for_every_row(
    classifier: Classifier, flows_model: Path, tmp_path: Path, write_table: Any
) -> None:
    cells = {(1, 14): b"NaN", (1, 15): b"Infinity", (2, 3): b"many"}
    path = write_table(tmp_path / "flows.csv", [b"BENIGN"] * 4, cells=cells, lines={3: b"1,2,3"})
    verdicts = classifier.classify(path)
    rows = list(verdicts)
    assert [(row["capture"], row["row"]) for row in rows] == [(str(path), i) for i in (1, 2, 3, 4)]
    assert [row["attack"] is None for row in rows] == [False, False, True, True]
    assert set(rows[0]["attack"]["probabilities"]) == set(classifier.tasks["attack"])
    assert verdicts.problems[:2] == (
        f"{path}: lines that are no flow: 1 (words or nothing where numbers should be)",
        f"{path}: 1 lines do not have the header's number of fields",
    )
    frame = verdicts.to_pandas()
    assert frame["malicious"].tolist()[:2] == [row["malicious"]["label"] for row in rows[:2]]
    assert frame["attack_confidence"].isna().tolist() == [False, False, True, True]

    status, out, err = run(path, "--model", flows_model, "--format", "json")
    assert status == 3
    assert [json.loads(line) for line in out.splitlines()] == rows
    assert "4 rows classified" in err


def test_formats_and_order(
    flows_model: Path, tmp_path: Path, write_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    monkeypatch.setenv("COLUMNS", "300")  # room for the names of files, however long
    one = write_table(tmp_path / "in" / "b.csv", [b"BENIGN", b"DDoS"])
    two = write_table(tmp_path / "in" / "a.csv", [b"DDoS"] * 3, seed=2)
    status, out, _ = run(one, two, "--model", flows_model)
    assert status == 0
    assert "b.csv" in out
    for suffix, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        file = tmp_path / f"verdicts{suffix}"
        assert run(one, two, "--model", flows_model, "--out", file)[0] == 0
        frame = read(file)
        assert frame["capture"].tolist() == [str(one)] * 2 + [str(two)] * 3
        assert frame["row"].tolist() == [1, 2, 1, 2, 3]
        assert run(one, "--model", flows_model, "--out", file)[0] == 2  # nothing is overwritten unasked
    status, out, _ = run(tmp_path / "in", "--model", flows_model, "--json")
    assert [json.loads(line)["row"] for line in out.splitlines()] == [1, 2, 3, 1, 2]


def test_captures_and_tables_are_not_mixed_up(
    flows_model: Path, tiny_model: Path, short_capture: Path, tmp_path: Path, write_table: Any
) -> None:
    path = write_table(tmp_path / "flows.csv", [b"BENIGN"])
    assert len(Classifier.load(flows_model).classify(short_capture)) > 0  # it reads captures too
    with pytest.raises(UsageError, match="reads packets"):
        Classifier.load(tiny_model).classify_tables([], [])
    with pytest.raises(UsageError, match="uint8"):
        Classifier.load(tiny_model).predict(np.zeros((1, 78)))
    assert run(path, "--model", tiny_model)[0] == 2
    status, _, err = run(tmp_path / "missing.csv", "--model", flows_model)
    assert status == 2
    assert "no such file" in err
    status, _, err = run(path, tmp_path / "missing.csv", "--model", flows_model)
    assert status == 3
    assert "no such file" in err


def test_tables_choose_the_model_that_reads_them(tmp_path: Path, write_table: Any) -> None:
    from mtc.inference import bundled_models

    path = write_table(tmp_path / "flows.csv", [b"BENIGN"])
    if "cicids2017" in bundled_models():
        assert run(path)[0] == 0
    else:
        status, _, err = run(path)
        assert status == 2
        assert "--model" in err
