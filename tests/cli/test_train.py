import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mtc.cli import app

pytestmark = pytest.mark.slow

SMALL = [
    "model.tokens=5", "model.width=20", "model.heads=2", "model.ffn_width=16", "model.repetitions=[1, 1, 1]",
    "train.epochs=2", "train.batch_size=32",
]  # fmt: skip


@dataclass
class Result:
    status: int
    stdout: str
    stderr: str


def mtc(*arguments: str | Path) -> Result:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = CliRunner().invoke(app, list(map(str, arguments)), prog_name="mtc")
    finally:
        torch.set_num_threads(threads)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Result(result.exit_code, result.stdout, result.stderr)


def train(data: Path, out: Path, *more: str) -> Result:
    settings = [argument for setting in SMALL for argument in ("--set", setting)]
    return mtc("train", "iscx-mtc", "--data", data, "--out", out, *settings, *more)


@pytest.fixture(scope="module")
def trained(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("runs") / "first"
    return out, train(small_dataset, out)


def test_tables_on_stdout_progress_on_stderr(trained: tuple[Path, Result]) -> None:
    out, result = trained
    assert result.status == 0, result.stderr
    assert [line.split("  ")[0] for line in result.stderr.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    for word in ("application", "traffic", "auxiliary", "macro F1", "recall", str(out)):
        assert word in result.stdout
    assert [path.name for path in out.parent.iterdir()] == ["first"]  # nothing outside the run


def test_evaluate_gives_every_class_of_every_task(
    trained: tuple[Path, Result],
) -> None:
    out, _ = trained
    result = mtc("evaluate", out)
    assert result.status == 0, result.stderr
    for word in ("application, by class", "AIM Chat", "VPN VoIP", "All Streaming", "flow F1"):
        assert word in result.stdout


def test_evaluate_prints_and_writes_json(
    trained: tuple[Path, Result], small_dataset: Path, tmp_path: Path
) -> None:
    out, _ = trained
    report = tmp_path / "scores.json"
    arguments = ("evaluate", out, "--data", small_dataset, "--part", "validation", "--json", "--out", report)
    result = mtc(*arguments)
    assert result.status == 0, result.stderr
    told = json.loads((out / "metrics.json").read_text())
    assert json.loads(result.stdout)["parts"]["validation"] == told["parts"]["validation"]
    assert json.loads(report.read_text()) == json.loads(result.stdout)
    again = mtc(*arguments)
    assert (again.status, again.stderr.count("\n")) == (2, 1)
    assert "--force" in again.stderr


def test_what_is_wrong_is_one_line_and_status_2(
    trained: tuple[Path, Result], small_dataset: Path, tmp_path: Path
) -> None:
    out, _ = trained
    for result in (
        train(small_dataset, out),
        train(small_dataset, tmp_path / "new", "--set", "train.epoch=3"),
        train(tmp_path / "no-dataset", tmp_path / "new"),
        mtc("evaluate", tmp_path),
    ):
        assert result.status == 2
        assert result.stdout == ""
        assert result.stderr.startswith("mtc: ")
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
