"""A replay over a link faster than anything can judge: what is told to be lost is what was lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def _can_replay() -> None:
    pytest.importorskip("pcapy", reason="pcapy-ng is not installed")
    missing = [name for name in ("tcpreplay", "ip", "unshare") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("only root can make a network namespace")


@pytest.mark.usefixtures("_can_replay")
def test_reported_loss_is_the_true_loss() -> None:
    command = ["unshare", "--net", sys.executable, "benchmarks/watch.py", "rates", "src/mtc/assets/demo.pcap"]
    done = subprocess.run(
        [*command, "--rates", "0", "--seconds", "2", "--options", "--queue-mb 1 --ring-mb 2"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=200,
    )
    (line,) = map(json.loads, done.stdout.splitlines())
    assert line["sent"] > line["taken"] > 0
    assert line["lost"] == line["reported"] > 0
    assert line["final"]
