"""What a report is made of is told apart by its content; what cannot be used is named."""

import json
from pathlib import Path

import pytest
from report_inputs import audit_result, result, sweep_result, write_results

from mtc.errors import InputError
from mtc.report import load_sources


def test_a_folder_of_results(results: Path) -> None:
    found = load_sources([results])
    assert [run.name for run in found.runs] == ["flow-cnn-1", "flow-mtc-1", "flow-mtc-2", "packet-mtc-1"]
    assert set(found.sweeps) == {"dropout", "batches"}
    assert set(found.audits) == {"audited"}
    assert found.remarks == []
    first = found.runs[1]
    assert (first.recipe, first.budget_minutes, first.rows["train"]) == ("iscx-mtc", 8.0, 640)
    assert first.log is not None
    assert len(first.log["train_loss"]) == 6


def test_a_run_folder_with_the_dataset_that_it_names(flows_model: Path, flows_dataset: Path) -> None:
    found = load_sources([flows_model])
    (run,) = found.runs
    assert run.name == "run"
    assert set(run.scores("packet")) == {"attack", "malicious"}
    assert run.log is not None
    assert len(run.log["validation_loss"]) == run.metrics["epochs"]
    assert run.rows["train"] > 0
    assert run.training["machine"]
    assert list(found.datasets) == [json.loads((flows_dataset / "dataset.json").read_text())["name"]]


def test_a_run_is_there_once(flows_model: Path, tmp_path: Path) -> None:
    kept = json.loads((flows_model / "metrics.json").read_text())
    config = json.loads((flows_model / "config.json").read_text())
    write_results(tmp_path, {"kept": {**kept, "run": {"config": config}}})
    found = load_sources([flows_model, tmp_path / "kept.json"])
    assert [run.name for run in found.runs] == ["run"]
    assert found.remarks == ["left out: kept, the same run as run"]


def test_folders_of_sweeps_audits_and_runs(tmp_path: Path) -> None:
    write_results(tmp_path / "s", {"sweep": sweep_result("train.epochs", [50, 80])})
    write_results(tmp_path / "a", {"audit": audit_result()})
    write_results(tmp_path / "r", {"metrics": result("iscx-cnn", "flow", 1)})
    found = load_sources([tmp_path])
    assert (list(found.sweeps), list(found.audits), [run.name for run in found.runs]) == (["s"], ["a"], ["r"])


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    write_results(tmp_path, {"good": result("iscx-cnn", "flow", 1), "other": {"a": 1}})
    (tmp_path / "broken.json").write_text("{")
    found = load_sources([tmp_path])
    assert [run.name for run in found.runs] == ["good"]
    assert any("broken.json" in remark for remark in found.remarks)
    assert any("other.json" in remark for remark in found.remarks)
    with pytest.raises(InputError, match="no such file"):
        load_sources([tmp_path / "nothing"])
    with pytest.raises(InputError, match="not a readable JSON"):
        load_sources([tmp_path / "broken.json"])
    with pytest.raises(InputError, match="neither a run"):
        load_sources([tmp_path / "other.json"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither a run"):
        load_sources([tmp_path / "empty"])
