"""The kernels under numba's own bounds checks, which turn a read past an array into an IndexError."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_kernels_pass_their_properties_with_bounds_checks(tmp_path: Path) -> None:
    # numba compiles the checks in, so that they need a process and a cache of their own.
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    folder = Path(__file__).parent
    chosen = ["test_pcap.py", "test_pcapng.py", "test_properties.py::test_arbitrary_bytes"]
    chosen.append("test_properties.py::test_damaged_files")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            *(str(folder / name) for name in chosen),
        ],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        cwd=folder.parents[1],
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert any(tmp_path.rglob("*.nbc")), "the kernels were not compiled anew"
