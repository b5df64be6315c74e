"""Memory that is freed stays with the process."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from mtc.training.memory import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    print(-1)
    sys.exit()


def step():
    layers = [torch.ones(rows, 1000) for rows in range(4000, 12000, 1000)]  # 16 to 44 MB
    while layers:
        layers.pop()


step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_the_next_step_takes_the_memory_of_the_one_before() -> None:
    kept = _faults("keep")
    if kept < 0:
        pytest.skip("not the GNU C library")
    assert kept < _faults("give back") / 2
