"""``mtc sweep``, with real runs of a small network."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from mtc.cli import app

pytest.importorskip("optuna")

pytestmark = pytest.mark.slow

SMALL = [
    "model.tokens=5", "model.width=20", "model.heads=2", "model.ffn_width=16", "model.repetitions=[1, 1, 1]",
    "train.epochs=1", "train.batch_size=64",
]  # fmt: skip


def mtc_sweep(recipe: str, data: Path, out: Path, *more: str) -> Result:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = [argument for setting in SMALL for argument in ("--set", setting)]
    try:
        return CliRunner().invoke(
            app, ["sweep", recipe, "--data", str(data), "--out", str(out), *settings, *more]
        )
    finally:
        torch.set_num_threads(threads)


def test_runs_table_and_resume(small_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    result = mtc_sweep("iscx-cnn-dropout", small_dataset, out, "--seeds", "1")
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("[")] == [
        f"[{i + 1}/3] seed 1, cnn_dropout={value}" for i, value in enumerate(_order(result.stderr))
    ]
    for word in ("Table 8", "cnn_dropout=0.09", "88.18", "98.30", "1 of 1"):
        assert word in result.stdout
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["00-seed1", "01-seed1", "02-seed1"]
    metrics = json.loads((out / "runs" / "01-seed1" / "metrics.json").read_text())

    again = mtc_sweep("iscx-cnn-dropout", small_dataset, out, "--seeds", "1", "--resume", "--json")
    assert again.exit_code == 0
    assert again.stderr == ""  # nothing was left to run
    table = json.loads(again.stdout)
    application = table["points"][1]["parts"]["application"]["macro_f1"]
    assert application["mean"] == pytest.approx(metrics["parts"]["test"]["application"]["macro_f1"])
    assert application["half_width"] is None


def _order(stderr: str) -> list[str]:
    values = [line.rpartition("=")[2] for line in stderr.splitlines() if line.startswith("[")]
    assert sorted(values) == ["0.05", "0.07", "0.09"]
    return values


def test_wrong_seeds_and_recipes_are_one_line(small_dataset: Path, tmp_path: Path) -> None:
    for recipe, more, message in (
        ("iscx-cnn-dropout", ["--seeds", "1;2"], "--seeds takes numbers"),
        ("iscx-cnn-dropuot", [], "no recipe 'iscx-cnn-dropuot'"),
    ):
        result = mtc_sweep(recipe, small_dataset, tmp_path / "out", *more)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert message in result.stderr
    assert not (tmp_path / "out").exists()
