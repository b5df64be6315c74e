"""The command blocks of the tutorials run as they are written, in a folder with the files they name."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
DEMO = ROOT / "src" / "mtc" / "assets" / "demo.pcap"
CAPTURES = ("capture.pcap", "monday.pcap", "tuesday.pcap", "wednesday.pcap", "december.pcap")
NEVER_ENDS = ("mtc watch eth0", "mtc serve")
SHORT = ("--set", "train.epochs=1", "--set", "train.max_minutes=0.2")
pytestmark = pytest.mark.slow


def commands(tutorial: str) -> Iterator[str]:
    """The commands of a tutorial's console blocks that are the program's own."""
    text = (TUTORIALS / tutorial).read_text(encoding="utf-8")
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        for line in block.splitlines():
            command = line.removeprefix("$ ").removeprefix("sudo ")
            if line.startswith("$ ") and command.startswith("mtc ") and not command.startswith(NEVER_ENDS):
                yield command


def run(command: str, folder: Path, *more: str) -> None:
    words = [*shlex.split(command)[1:], *more]
    done = subprocess.run(
        [sys.executable, "-m", "mtc", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in CAPTURES:
        shutil.copy(DEMO, tmp_path / name)
    return tmp_path


def test_a_capture_in_hand(folder: Path) -> None:
    found = list(commands("capture.md"))
    assert len(found) >= 4
    for command in found:
        run(command, folder)


def test_the_python_of_the_tutorials_runs(folder: Path) -> None:
    for tutorial in sorted(TUTORIALS.glob("*.md")):
        for block in re.findall(
            r"```python\n(.*?)```", tutorial.read_text(encoding="utf-8"), flags=re.DOTALL
        ):
            done = subprocess.run(
                [sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{tutorial.name}: {done.stderr[-2000:]}"


def test_reproduce_the_paper(folder: Path, shared_data: Path) -> None:
    (folder / "Downloads").mkdir()
    (folder / "Downloads/ISCX").symlink_to(shared_data / "iscx-mini")
    (folder / "Downloads/MachineLearningCSV.zip").symlink_to(
        shared_data / "cicids2017-mini/MachineLearningCSV.zip"
    )
    for command in commands("paper.md"):
        if command.startswith("mtc sweep"):
            continue  # nine trainings: tests/evaluation/test_sweep.py runs a small one
        run(command, folder, *(SHORT if command.startswith("mtc train") else ()))
    runs = [json.loads(file.read_text()) for file in sorted(folder.glob("runs/*/metrics.json"))]
    assert sorted(run["model"] for run in runs) == ["cnn", "mtc", "mtc", "transformer"]
    assert {run["protocol"] for run in runs} == {"packet", "paper"}
    assert (folder / "report/index.html").is_file()
