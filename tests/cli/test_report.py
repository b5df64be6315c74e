"""``mtc compare`` and ``mtc report`` as a user calls them."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtc.cli import main


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Mtc = Callable[..., Done]


@pytest.fixture
def mtc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mtc:
    """Call ``mtc`` with arguments, in this process."""

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["mtc", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        streams = capsys.readouterr()
        return Done(int(ended.value.code or 0), streams.out, streams.err)

    return call


@pytest.fixture(scope="module")
def run(flows_model: Path) -> Path:
    return flows_model


def test_compare_prints_the_paper_beside_the_run(run: Path, mtc: Mtc) -> None:
    done = mtc("compare", run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "99.47" in done.stdout  # attack, MTC, Table 4
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"{100 * metrics['parts']['test']['attack']['macro_f1']:.2f}" in done.stdout


def test_compare_as_json_and_csv(run: Path, mtc: Mtc) -> None:
    metrics = json.loads((run / "metrics.json").read_text())["parts"]["test"]
    (model,) = json.loads(mtc("compare", run, "--json").stdout)["models"]
    assert (model["split"], model["seeds"], model["runs"]) == ("honest", [1], ["run"])
    found = model["tasks"]["malicious"]["packet"]["macro_f1"]
    assert found["mean"] == metrics["malicious"]["macro_f1"]
    rows = list(csv.DictReader(io.StringIO(mtc("compare", run, "--csv").stdout)))
    row = next(r for r in rows if (r["task"], r["per"], r["score"]) == ("attack", "packet", "macro_recall"))
    assert float(row["mean"]) == metrics["attack"]["macro_recall"]
    assert (row["paper"], row["paper_split"]) == ("0.9966", "paper")


def test_two_runs_are_paired(run: Path, mtc: Mtc) -> None:
    done = mtc("compare", run, run, "--paired")
    assert done.returncode == 0, done.stderr
    assert "malicious" in done.stdout
    assert "+0.00 … +0.00" in done.stdout


def test_report_writes_a_page_and_says_what_is_missing(run: Path, tmp_path: Path, mtc: Mtc) -> None:
    done = mtc("report", run, "--out", tmp_path / "out", "--json", "--title", "Mine")
    assert done.returncode == 0
    about = json.loads(done.stdout)
    assert "<h1>Mine</h1>" in Path(about["page"]).read_text(encoding="utf-8")
    assert "table-4-cicids2017" in about["tables"]
    assert any("Table 7" in line for line in about["missing"])
    again = mtc("report", run, "--out", tmp_path / "out")
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "--force" in again.stderr


def test_wrong_usage_is_one_line(tmp_path: Path, run: Path, mtc: Mtc) -> None:
    for arguments in (["compare", tmp_path / "none"], ["compare", run, "--json", "--csv"]):
        done = mtc(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
