"""Costs that must not grow: memory with the length of a stream, time with the number of files."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard
from capture_writers import Packet, pcap

from mtc.capture import expand_inputs, open_capture

READER = """
import resource
from mtc.capture import open_capture

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

with open_capture(INPUT) as reader:
    packets, early = 0, None
    for batch in reader:
        packets += len(batch)
        early = early or resident()
    # Not ru_maxrss: a new process inherits that of the one that started it.
    with open("/proc/self/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
    print(packets, resident() - early, peak, reader.damage)
"""


def measure(source: str, parts: list[bytes]) -> tuple[int, int, int, str]:
    """Packets read in a process of its own, growth after the first batch, most memory, and damage."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER.replace("INPUT", repr(source))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for part in parts:
            process.stdin.write(part)
        process.stdin.close()
        packets, growth, peak, damage = process.stdout.read().decode().split(maxsplit=3)
    return int(packets), int(growth), int(peak), damage.strip()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_is_flat_over_a_long_stream() -> None:
    records = pcap([Packet(number, bytes(700 + number % 800), 1500) for number in range(20_000)])[24:]
    packets, growth, peak, damage = measure("-", [pcap([]), *[records] * 8])
    assert (packets, damage) == (160_000, "None")
    assert growth < 30 << 20
    assert peak < 500 << 20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_a_compressed_bomb_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    record = pcap([Packet(0, bytes(262_144), 262_144)])[24:]
    with zstandard.open(path, "wb") as file:
        file.write(pcap([]))
        for _ in range(1500):
            file.write(record)
    assert path.stat().st_size < 1_000_000
    packets, _, peak, damage = measure(str(path), [])
    assert (packets, damage) == (1500, "None")
    assert peak < 500 << 20


def test_small_files_cost_little_each(tmp_path: Path) -> None:
    data = pcap([Packet(number, bytes(60), 60) for number in range(10)])
    for number in range(1000):
        (tmp_path / str(number)).write_bytes(data)
    started = time.process_time()  # other programs may be busy
    packets = 0
    for source in expand_inputs([tmp_path]):
        with open_capture(source) as reader:
            packets += sum(len(batch) for batch in reader)
    assert packets == 10_000
    assert time.process_time() - started < 1.0
