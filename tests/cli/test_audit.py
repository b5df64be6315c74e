import json
from pathlib import Path

from typer.testing import CliRunner

from mtc.cli import app


def test_tables_json_and_file(small_dataset: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    arguments = ["audit", str(small_dataset), "--rows", "300", "--out", str(tmp_path / "audit")]
    shown = run(app, arguments)
    assert shown.exit_code == 0, shown.output
    for text in ("What the parts of a split share", "udp_src_port", "extra-trees", "Verdict", "honest score"):
        assert text in shown.output
    figures = {path.name for path in (tmp_path / "audit" / "figures").iterdir()}
    assert {f"audit-fields-iscx-traffic.{kind}" for kind in ("svg", "png")} <= figures
    again = run(app, arguments)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    printed = run(app, [*arguments, "--json", "--force"])
    assert json.loads(printed.stdout) == json.loads((tmp_path / "audit" / "audit.json").read_text())


def test_a_file_alone(small_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept" / "mine.json"
    done = CliRunner().invoke(app, ["audit", str(small_dataset), "--rows", "100", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["settings"]["rows"] == 100
    assert [path.name for path in out.parent.iterdir()] == ["mine.json"]


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["audit", str(tmp_path)])
    assert refused.exit_code == 2
    assert "not a dataset" in refused.stderr


def test_a_place_that_takes_no_files_is_told_before_the_work(small_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = CliRunner().invoke(app, ["audit", str(small_dataset), "--out", str(tmp_path / "file" / "out")])
    assert refused.exit_code == 2
    assert "not writable (Not a directory)" in refused.stderr
    assert not refused.stdout
