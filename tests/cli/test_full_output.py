"""A place that takes no more is told in a line, wherever the output goes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.is_char_device(), reason="no /dev/full on this system")


@pytest.mark.parametrize("arguments", [["--help"], ["models", "--json"], ["inspect", "cut.pcap", "--json"]])
def test_a_full_disk_behind_standard_output(capture: Path, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "cut.pcap").write_bytes(capture.read_bytes()[:-1])  # status 3, were it not for the disk
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mtc", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=200,
            cwd=tmp_path,
        )
    assert done.returncode == 2
    assert done.stderr.endswith("mtc: the output: cannot be written (No space left on device)\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_no_device_is_replaced_by_a_file(
    mtc: Callable[..., Any], capture: Path, tmp_path: Path, kind: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = mtc("flows", capture, "--format", kind, "--out", pipe, "--force")
    assert (done.status, done.err) == (2, f"mtc: {pipe}: is no regular file\n")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
