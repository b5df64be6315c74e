"""``mtc dataset cicids2017`` as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path

LABELS = [b"BENIGN"] * 40 + [b"DDoS"] * 12 + [b"Infiltration", b"Mirai"]


def test_build_and_show(
    run_dataset: Callable[..., tuple[int, str, str]], tmp_path: Path, write_table
) -> None:  # type: ignore[no-untyped-def]
    table = write_table(tmp_path / "a.csv", LABELS)
    status, out, err = run_dataset("cicids2017", table, tmp_path / "out")
    assert status == 0
    assert "54 rows read, 2 skipped" in out
    assert "Not in the source: Monday-WorkingHours" in out
    assert err == "mtc: 1 rows not used: no class is known for the label 'Mirai'\n"
    assert max(map(len, out.split("Of the 49")[0].splitlines())) <= 120
    status, shown, _ = run_dataset("show", tmp_path / "out")
    assert status == 0
    assert "DoS/DDoS" in shown
    status, shown, _ = run_dataset("show", tmp_path / "out", "--json")
    written = json.loads((tmp_path / "out/dataset.json").read_text())
    assert json.loads(shown) == written
    status, out, _ = run_dataset("cicids2017", table, tmp_path / "out", "--force", "--infiltration", "--json")
    assert status == 0
    assert len(json.loads(out)["tasks"]["attack"]) == 7
    assert run_dataset("cicids2017", table, tmp_path / "out")[0] == 2
    assert run_dataset("cicids2017", table, tmp_path / "out", "--force", "--duplicates", "drop")[0] == 0
    assert run_dataset("cicids2017", tmp_path / "nowhere", tmp_path / "out2")[0] == 2


def test_damage_is_told_and_gives_status_3(
    run_dataset: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    write_table,  # type: ignore[no-untyped-def]
) -> None:
    write_table(tmp_path / "in/a.csv", LABELS)
    (tmp_path / "in/b.csv").write_text("text\n")
    (tmp_path / "in/readme.md").write_text("text\n")
    status, _, err = run_dataset("cicids2017", tmp_path / "in", tmp_path / "out")
    assert status == 3
    assert err.splitlines()[:2] == [
        "mtc: in/b.csv: not a table of flow features (no column is known)",
        "mtc: in/readme.md: not used: not a table",
    ]
