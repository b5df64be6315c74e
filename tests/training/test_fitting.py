"""The fit of a run: memory that is freed stays with the process, and the precision that is chosen."""

import subprocess
import sys

import pytest
import torch

from mtc.training import resolve_precision

FAULTS = """
import resource, sys
import torch
from mtc.training.fitting import keep_freed_memory

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


@pytest.mark.parametrize(("amx", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_only_where_the_cpu_multiplies_it(
    amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert resolve_precision("auto") == expected
    assert resolve_precision("fp32") == "fp32"
    assert resolve_precision("bf16") == "bf16"
