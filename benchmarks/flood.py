"""Floods: what somebody who knows the code can cost it with packets alone.

    python benchmarks/flood.py [--flows 600000]

*Hash flood*: IPv6 flows whose ports undo bits of their addresses, which all fell into one slot of the flow
table before addresses and ports were hashed apart. *SYN flood*: one SYN per flow, from random addresses,
read by `mtc inspect`, `mtc flows` and `mtc classify` in processes of their own; time is their CPU time.
"""

import argparse
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mtc.flows import SampleStream

_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 101)


def write_records(path: Path, packets: np.ndarray) -> None:
    """Packets, uint8 (N, bytes), as a capture of raw IP, one a microsecond."""
    count, size = packets.shape
    records = np.zeros((count, 16 + size), np.uint8)
    heads = np.zeros((count, 4), "<u4")
    heads[:, 0] = 1_700_000_000 + np.arange(count) // 1_000_000
    heads[:, 1] = np.arange(count) % 1_000_000
    heads[:, 2:] = size
    records[:, :16] = heads.view(np.uint8)
    records[:, 16:] = packets
    path.write_bytes(_HEAD + records.tobytes())


def syn_flood(count: int) -> np.ndarray:
    """One SYN of 40 bytes a flow, IPv4, from random addresses and ports."""
    random = np.random.default_rng(1)
    packet = struct.pack(">BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 6, 0, 0, 0x0A000001)
    packet += struct.pack(">HHIIBBHHH", 0, 443, 1, 0, 0x50, 2, 1024, 0, 0)
    packets = np.tile(np.frombuffer(packet, np.uint8), (count, 1))
    packets[:, 12:16] = random.integers(0, 256, (count, 4))
    packets[:, 20:22] = random.integers(0, 256, (count, 2))
    return packets


def hash_flood(count: int, *, chosen: bool) -> np.ndarray:
    """A datagram a flow over IPv6, with chosen ends or with random ones."""
    numbers = np.arange(count) % 65_536
    packet = struct.pack(">IHBB", 6 << 28, 9, 17, 64) + b"\x20\x01\x0d\xb8" + bytes(27) + b"\x01"
    packet += struct.pack(">HHHH", 0, 443, 9, 0) + b"x"
    packets = np.tile(np.frombuffer(packet, np.uint8), (count, 1))
    ports = numbers.astype(">u2").view(np.uint8).reshape(-1, 2)
    packets[:, 40:42] = ports
    if chosen:
        packets[:, 16:18] = ports  # the highest bits of the low half of the sender's address
        packets[:, 18:20] = (np.arange(count) // 65_536).astype(">u2").view(np.uint8).reshape(-1, 2)
    else:
        packets[:, 16:24] = np.random.default_rng(1).integers(0, 256, (count, 8))
    return packets


def seconds_to_read(path: Path) -> float:
    begun = time.process_time()
    with SampleStream(path, build=False) as stream:
        for _ in stream:
            pass
    return time.process_time() - begun


def run(*arguments: str) -> tuple[float, float]:
    """CPU seconds and most memory (MB) of a command of mtc, whose output is thrown away."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "mtc", *arguments]
    watched = ["/usr/bin/env", "python3", "-c", _WATCH, *command]
    peak = subprocess.run(watched, check=True, capture_output=True).stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, int(peak.split()[-1]) / 1024


_WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flows", type=int, default=600_000)
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flood.pcap")
        table = Table("131,072 flows over IPv6", "CPU seconds", title="hash flood")
        for chosen in (False, True):
            write_records(path, hash_flood(131_072, chosen=chosen))
            seconds_to_read(path)
            table.add_row("chosen" if chosen else "random", f"{seconds_to_read(path):.2f}")
        console.print(table)
        write_records(path, syn_flood(arguments.flows))
        table = Table(
            "command", "CPU seconds", "of inspect", "MB", title=f"SYN flood, {arguments.flows:,} flows"
        )
        base = 0.0
        for command in (
            ("inspect",),
            ("flows", "--format", "json"),
            ("flows", "--format", "csv"),
            ("classify", "--format", "json"),
        ):
            run(command[0], str(path), *command[1:])
            spent, peak = run(command[0], str(path), *command[1:])
            base = base or spent
            table.add_row(" ".join(command), f"{spent:.1f}", f"{spent / base:.1f}", f"{peak:,.0f}")
        console.print(table)


if __name__ == "__main__":
    main()
