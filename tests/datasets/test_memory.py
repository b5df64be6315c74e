"""Memory of a build that keeps every packet: it does not grow with their number."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BUILD = """
import json, resource, sys
from mtc.datasets import build_captures

info = build_captures(sys.argv[1], sys.argv[2])
# Not ru_maxrss, which begins with that of the process that started this one.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([info.rows, int(status["VmHWM"].split()[0]) / 1000]))
"""


def test_memory_does_not_grow_with_packets(tmp_path: Path, write_capture: Callable[..., Path]) -> None:
    packets = [(40_000 + i % 300, 443, i.to_bytes(2, "big") * 20) for i in range(3_000)]
    data = write_capture(tmp_path / "a.pcap", packets).read_bytes()
    peaks = []
    for times in (20, 200):
        with (tmp_path / "a.pcap").open("wb") as file:
            file.write(data[:24])
            for _ in range(times):
                file.write(memoryview(data)[24:])
        (tmp_path / "labels.csv").write_text("capture,kind\na.pcap,one\n")
        command = [sys.executable, "-c", BUILD, str(tmp_path / "labels.csv"), str(tmp_path / f"out{times}")]
        rows, peak = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert rows == 3_000 * times
        peaks.append(peak)
    # 540,000 rows more: to hold a label, a flow, a time and a draw of each would take about 60 MB.
    assert peaks[1] < peaks[0] + 60, peaks
