"""What large inputs cost: memory for a 10 GB capture through a pipe, time for 10,000 small files.

    python benchmarks/scale.py [--gigabytes 10] [--files 10000]

The large capture is made by repetition and never lies on a disk. Resident memory is read while the
samples of the whole stream are taken, in a process of its own; then `mtc inspect -` reads it again.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from traffic import write_traffic

READER = """
import resource, sys, time
from mtc.flows import SampleStream
from mtc.capture import open_capture

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6

started, told, samples = time.perf_counter(), 0.0, 0
with SampleStream(open_capture("-")) as stream:
    for piece in stream:
        samples += len(piece)
        if stream.reader.bytes_read - told >= STEP:
            told = stream.reader.bytes_read
            print(f"{told / 1e9:6.2f} GB read, {resident_mb():6.0f} MB resident", flush=True)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(f"{stream.packets:,} packets, {samples:,} samples in {seconds:.1f} s; at most {peak:.0f} MB resident")
"""


INSPECT = """
import contextlib, io, resource, sys, time
from mtc.cli import main
sys.argv[1:] = ["inspect", "-", "--json"]
started = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(f"mtc inspect: {time.perf_counter() - started:.1f} s; at most {peak:.0f} MB resident")
"""


def large(folder: Path, gigabytes: float) -> None:
    pcap = folder / "traffic.pcap"
    write_traffic(pcap, folder / "traffic.pcapng", 200_000)
    data = pcap.read_bytes()
    for script in (READER.replace("STEP", str(gigabytes * 1e8)), INSPECT):
        reader = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
        assert reader.stdin is not None
        reader.stdin.write(data[:24])
        for _ in range(max(1, int(gigabytes * 1e9 / (len(data) - 24)))):
            reader.stdin.write(memoryview(data)[24:])
        reader.stdin.close()
        reader.wait()


def many(folder: Path, files: int) -> None:
    from mtc.flows import iter_samples

    pcap = folder / "small.pcap"
    write_traffic(pcap, folder / "small.pcapng", 10)
    data = pcap.read_bytes()
    captures = folder / "captures"
    captures.mkdir()
    for number in range(files):
        (captures / f"{number:05}.pcap").write_bytes(data)
    started = time.perf_counter()
    packets = sum(piece.packets for piece in iter_samples(captures))
    print(f"{files:,} files, {packets:,} packets in {time.perf_counter() - started:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="What large inputs cost.")
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--files", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large(Path(folder), arguments.gigabytes)
        many(Path(folder), arguments.files)


if __name__ == "__main__":
    main()
