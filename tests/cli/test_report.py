"""``mtc compare`` and ``mtc report`` as a user calls them."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest


def _mtc(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from mtc.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


@pytest.fixture(scope="module")
def run(flows_model: Path) -> Path:
    return flows_model


def test_compare_prints_the_paper_beside_the_run(run: Path) -> None:
    done = _mtc("compare", run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "99.47" in done.stdout  # attack, MTC, Table 4
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"{100 * metrics['parts']['test']['attack']['macro_f1']:.2f}" in done.stdout


def test_compare_as_json_and_csv(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())["parts"]["test"]
    (model,) = json.loads(_mtc("compare", run, "--json").stdout)["models"]
    assert (model["split"], model["seeds"], model["runs"]) == ("honest", [1], ["run"])
    found = model["tasks"]["malicious"]["packet"]["macro_f1"]
    assert found["mean"] == metrics["malicious"]["macro_f1"]
    rows = list(csv.DictReader(io.StringIO(_mtc("compare", run, "--csv").stdout)))
    row = next(r for r in rows if (r["task"], r["per"], r["score"]) == ("attack", "packet", "macro_recall"))
    assert float(row["mean"]) == metrics["attack"]["macro_recall"]
    assert (row["paper"], row["paper_split"]) == ("0.9966", "paper")


def test_report_writes_a_page_and_says_what_is_missing(run: Path, tmp_path: Path) -> None:
    done = _mtc("report", run, "--out", tmp_path / "out", "--json", "--title", "Mine")
    assert done.returncode == 0
    about = json.loads(done.stdout)
    assert "<h1>Mine</h1>" in Path(about["page"]).read_text(encoding="utf-8")
    assert "table-4-cicids2017" in about["tables"]
    assert any("Table 7" in line for line in about["missing"])
    again = _mtc("report", run, "--out", tmp_path / "out")
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "--force" in again.stderr


def test_wrong_usage_is_one_line(tmp_path: Path, run: Path) -> None:
    for arguments in (["compare", tmp_path / "none"], ["compare", run, "--json", "--csv"]):
        done = _mtc(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
