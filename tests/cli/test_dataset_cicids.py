"""``mtc dataset cicids2017`` as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtc.cli import app

LABELS = [b"BENIGN"] * 40 + [b"DDoS"] * 12 + [b"Infiltration", b"Mirai"]


@pytest.fixture
def mtc() -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["dataset", *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


def test_build_and_show(mtc: Callable[..., tuple[int, str, str]], tmp_path: Path, write_table) -> None:  # type: ignore[no-untyped-def]
    table = write_table(tmp_path / "a.csv", LABELS)
    status, out, err = mtc("cicids2017", table, tmp_path / "out")
    assert status == 0
    assert "54 rows read, 2 left out" in out
    assert "Not in the source: Monday-WorkingHours" in out
    assert err == "mtc: 1 rows not used: no class is known for the label 'Mirai'\n"
    assert max(map(len, out.split("Of the 49")[0].splitlines())) <= 120
    status, shown, _ = mtc("show", tmp_path / "out")
    assert status == 0
    assert "DoS/DDoS" in shown
    status, shown, _ = mtc("show", tmp_path / "out", "--json")
    written = json.loads((tmp_path / "out/dataset.json").read_text())
    assert json.loads(shown) == written
    status, out, _ = mtc("cicids2017", table, tmp_path / "out", "--force", "--infiltration", "--json")
    assert status == 0
    assert len(json.loads(out)["tasks"]["attack"]) == 7
    assert mtc("cicids2017", table, tmp_path / "out")[0] == 2
    assert mtc("cicids2017", table, tmp_path / "out", "--force", "--duplicates", "drop")[0] == 0
    assert mtc("cicids2017", tmp_path / "nowhere", tmp_path / "out2")[0] == 2


def test_damage_is_told_and_gives_status_3(
    mtc: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    write_table,  # type: ignore[no-untyped-def]
) -> None:
    write_table(tmp_path / "in/a.csv", LABELS)
    (tmp_path / "in/b.csv").write_text("text\n")
    (tmp_path / "in/readme.md").write_text("text\n")
    status, _, err = mtc("cicids2017", tmp_path / "in", tmp_path / "out")
    assert status == 3
    assert err.splitlines()[:2] == [
        "mtc: in/b.csv: not a table of flow features (no column is known)",
        "mtc: in/readme.md: not used: not a table",
    ]
