"""Flow features: packets per CPU-second beside the reader and other tools, and memory with a million flows.

    python benchmarks/features.py [--packets 2000000] [--flows 1000000]

The capture is made here: TCP connections of 20 packets (handshake, 14 with payload, teardown), 500 at a time,
and, to be held in memory, connections of two packets that never end. All runs read the same file, in
processes of their own; what is compiled is compiled before. CPU time is that of the process, start included
for whole commands. The figures of other tools are not measured here: they are cited, with their machine.
"""

import argparse
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mtc.capture import open_capture
from mtc.flows import summarize
from mtc.flows.features import CONVENTIONS, FeatureTable

CITED = (
    ("CICFlowMeter, Java (cited: two cores of a Zen 3)", "25,000 to 44,000"),
    ("cicflowmeter, Python (cited: the same machine)", "about 900"),
)
PER_FLOW, AT_A_TIME, FRAME = 20, 500, 200
_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
_FLAGS = np.array([0x02, 0x12, 0x10, *[0x18, 0x10] * 7, 0x11, 0x11, 0x10], np.uint8)


def write_capture(path: Path, flow: np.ndarray, step: np.ndarray) -> None:
    """Ethernet frames of one size: packet ``step`` of flow ``flow``, int64 (N,), one a microsecond."""
    count = len(flow)
    records = np.zeros(count, [("head", "<u4", 4), ("frame", np.uint8, FRAME)])
    records["head"][:, 0] = 1_700_000_000 + np.arange(count) // 1_000_000
    records["head"][:, 1] = np.arange(count) % 1_000_000
    records["head"][:, 2:] = FRAME
    frame = records["frame"]
    frame[:, 12:14] = (0x08, 0x00)
    payload = np.where((step > 2) & (step < PER_FLOW - 3) & (step % 2 == 1), FRAME - 54, 0)
    frame[:, 14] = 0x45
    frame[:, 16:18] = _big(40 + payload, 2)
    frame[:, 22:24] = (64, 6)
    back = step % 2 == 1
    client, server = 0x0A000000 + flow // 50_000, 0xC0A80000 + flow % 200
    frame[:, 26:30] = _big(np.where(back, server, client), 4)
    frame[:, 30:34] = _big(np.where(back, client, server), 4)
    port = 10_000 + flow % 50_000
    frame[:, 34:36], frame[:, 36:38] = _big(np.where(back, 443, port), 2), _big(np.where(back, port, 443), 2)
    frame[:, 38:42] = _big(1000 * step, 4)
    frame[:, 46] = 0x50
    frame[:, 47] = _FLAGS[step]
    frame[:, 48:50] = _big(8192 + step, 2)
    with path.open("wb") as file:
        file.write(_HEAD)
        records.tofile(file)


def _big(values: np.ndarray, size: int) -> np.ndarray:
    """The low bytes of numbers, most significant first, uint8 (N, size)."""
    return np.stack([values >> (8 * (size - 1 - i)) & 255 for i in range(size)], axis=1).astype(np.uint8)


def connections(packets: int) -> tuple[np.ndarray, np.ndarray]:
    """Flow and step of every packet: ``AT_A_TIME`` connections take turns."""
    rounds = -(-packets // (PER_FLOW * AT_A_TIME))
    step = np.tile(np.repeat(np.arange(PER_FLOW), AT_A_TIME), rounds)
    member = np.tile(np.arange(AT_A_TIME), rounds * PER_FLOW)
    flow = np.repeat(np.arange(rounds), PER_FLOW * AT_A_TIME) * AT_A_TIME + member
    return flow[:packets], step[:packets]


def read(path: Path) -> None:
    with open_capture(path) as reader:
        for _ in reader:
            pass


def inspect(path: Path) -> None:
    summarize(path)


def features(path: Path, convention: str) -> None:
    table = FeatureTable(CONVENTIONS[convention])
    with open_capture(path) as reader:
        for batch in reader:
            table.update(batch)
    for _ in table.finish():
        pass


WAYS: dict[str, Callable[[Path], None]] = {
    "reader alone": read,
    "inspect": inspect,
    **{f"features, {name}": lambda path, name=name: features(path, name) for name in CONVENTIONS},
}


def run(command: list[str]) -> tuple[float, float]:
    """CPU seconds and the most memory, MB, of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, after.ru_maxrss / 1024


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--packets", type=int, default=2_000_000)
    arguments.add_argument("--flows", type=int, default=1_000_000)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "connections.pcap", Path(folder) / "small.pcap"
        write_capture(small, *connections(20_000))
        write_capture(path, *connections(given.packets))
        table = Table("what", "packets per CPU-second")
        for name, way in WAYS.items():
            way(small)
            start = time.process_time()
            way(path)
            table.add_row(name, f"{given.packets / (time.process_time() - start):,.0f}")
        command = [sys.executable, "-m", "mtc", "flows", "--features", "corrected"]
        used, _ = run([*command, str(path)])
        table.add_row("mtc flows --features corrected, CSV", f"{given.packets / used:,.0f}")
        for name, figure in CITED:
            table.add_row(name, figure)
        Console().print(table)
        flow = np.tile(np.arange(given.flows), 2)
        write_capture(path, flow, np.repeat([3, 4], given.flows))
        used, memory = run([*command, str(path)])
        print(
            f"{given.flows:,} open flows, {len(flow):,} packets: {used:.1f} CPU s, at most {memory:,.0f} MB"
        )


if __name__ == "__main__":
    main()
