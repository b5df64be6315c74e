"""End to end: ``mtc classify`` on a large capture of current traffic, every packet of it different.

    python benchmarks/classify.py [--gigabytes 1] [--packets 5] [--model iscx] [--reference 200]

The captures of labelled-captures are repeated with other addresses, ports and payload bytes each time,
so that no flow and no sample comes twice, and stand in one pcap of raw IP. Runs in a process of their own
each, verdicts as JSON lines into a file: without the reuse of identical samples, and without and with it
on repetitions that differ by addresses only, whose samples are the same: what reuse can gain. Resident
memory is the process's peak.

The time of a plain reference is extrapolated, not measured: samples judged, times what each takes in a
dense eager fp32 network, MTC (`mtc.models.networks.mtc`), measured on some of them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mtc.capture import expand_inputs
from mtc.config import ModelConfig
from mtc.flows import SampleStream
from mtc.models import MTC
from packets_of import dense, real_packets

RUN = """
import resource, sys, time
from mtc.cli import main
started = time.perf_counter()
try:
    main()
except SystemExit as end:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{time.perf_counter() - started} {peak * 1024} {end.code or 0}")
"""
CLASSES = {"application": 17, "traffic": 12, "auxiliary": 6}


class Template:
    """IP packets one behind the other as pcap records, and which of their bytes change."""

    def __init__(self, captures: Path) -> None:
        records: list[bytes] = []
        places: list[tuple[int, int, int, int, int]] = []
        flows, at = 0, 0
        for source in expand_inputs([captures]):
            with SampleStream(source, build=False) as stream:
                for _ in stream:
                    at = _take(stream, records, places, at)
                flows += len(stream.flows)
        self.data = np.frombuffer(b"".join(records), np.uint8)
        self.flows, self.packets = flows, len(places)
        address, width, transport, payload, end = np.array(places, np.int64).T
        # Both ends change alike, so that both directions stay one flow.
        self._high = np.concatenate([address + 1, address + width + 1])
        ports = np.concatenate([transport, transport + 2])
        self._ports = ports[self.data[ports] >= 0x40]  # those of services stay
        edges = np.zeros(len(self.data) + 1, np.int8)
        np.add.at(edges, payload, 1)
        np.add.at(edges, end, -1)
        self._payload = np.cumsum(edges[:-1], dtype=np.int8).view(np.uint8) * np.uint8(255)

    def turn(self, number: int, *, all_bytes: bool) -> NDArray[np.uint8]:
        """The packets with other addresses; with other ports and payload bytes too, where asked for."""
        data = self.data.copy()
        data[self._high] ^= number >> 8 & 0xFF
        data[self._high + 1] ^= number & 0xFF
        if all_bytes:
            data[self._ports] ^= number & 0x3F
            noise = np.random.default_rng(number).integers(0, 256, len(data), np.uint8)
            data ^= noise & self._payload
        return data


def _take(
    stream: SampleStream, records: list[bytes], places: list[tuple[int, int, int, int, int]], at: int
) -> int:
    """Add the packets of a piece with a five-tuple as raw IP."""
    batch, headers = stream.batch, stream.batch_headers
    assert batch is not None
    assert headers is not None
    for i in np.flatnonzero(headers.is_transport).tolist():
        ip, end = int(headers.ip_offset[i]), int(batch.offsets[i] + batch.caplens[i])
        packet = batch.data[ip:end].tobytes()
        seconds, rest = divmod(int(batch.timestamps[i]), 10**9)
        head = np.array([seconds & 0xFFFFFFFF, rest // 1000, len(packet), len(packet)], "<u4").tobytes()
        start = at + 16
        address, width = (start + 12, 4) if headers.ip_version[i] == 4 else (start + 8, 16)
        transport = start + int(headers.transport_offset[i]) - ip
        payload = start + max(int(headers.payload_offset[i]) - ip, 0)
        captured = int(headers.captured_payload[i])
        places.append((address, width, transport, payload, payload + captured))
        records.append(head + packet)
        at += 16 + len(packet)
    return at


def write(path: Path, template: Template, gigabytes: float, *, all_bytes: bool) -> None:
    turns = max(1, round(gigabytes * 1e9 / len(template.data)))
    with path.open("wb") as file:
        file.write(np.array([0xA1B2C3D4, 4 << 16 | 2, 0, 0, 262_144, 101], "<u4").tobytes())
        for turn in range(turns):
            file.write(template.turn(turn, all_bytes=all_bytes).data)


def run(capture: Path, *options: str) -> int:
    """Classify in a process of its own; the samples judged."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "verdicts.jsonl"
        command = [sys.executable, "-c", RUN, "classify", str(capture), "--out", str(out), *options]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, peak, _ = (float(value) for value in found.stdout.split())
        flows = sum(1 for _ in out.open("rb"))
    told = found.stderr.splitlines()
    packets = int(told[0].split(" from ")[1].split()[0].replace(",", ""))
    print(f"{' '.join(options)}: {seconds:.1f} s,")
    print(f"    {packets / seconds:,.0f} packets/s, {flows / seconds:,.0f} flows/s,")
    print(f"    {capture.stat().st_size / seconds / 1e6:,.0f} MB/s, at most {peak / 1e6:,.0f} MB resident")
    print(f"    {told[0].split(' (')[0]}; {told[1]}", flush=True)
    return int(told[1].split()[0].replace(",", ""))


def reference(samples: int) -> float:
    """Seconds a sample in the plain reference."""
    packets, name = real_packets(samples)
    network = MTC(ModelConfig(), CLASSES).eval()
    values = torch.from_numpy(dense(packets))
    with torch.inference_mode():
        network(values[:8])
        started = time.perf_counter()
        for part in values.split(64):
            network(part)
    each = (time.perf_counter() - started) / samples
    print(f"plain reference: {1 / each:,.1f} samples/s, measured on {samples} packets of {name}")
    return each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--packets", type=int, default=5)
    parser.add_argument("--model", default="iscx")
    parser.add_argument("--reference", type=int, default=192, help="samples that the reference is timed on")
    default = Path(os.environ.get("MTC_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default / "labelled-captures" / "captures")
    parser.add_argument(
        "--folder", type=Path, help="where the capture is written; a temporary one if left out"
    )
    options = parser.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data}: no such folder; give one of captures with --data")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        capture = Path(folder) / "large.pcap"
        template = Template(options.data)
        print(f"{torch.get_num_threads()} threads; {template.packets:,} packets of {template.flows:,} flows")
        asked = ("--model", options.model, "--packets", str(options.packets))
        write(capture, template, options.gigabytes, all_bytes=True)
        print(f"{capture.stat().st_size / 1e9:.2f} GB, every repetition changed")
        judged = run(capture, *asked, "--no-reuse")
        write(capture, template, options.gigabytes / 4, all_bytes=False)
        print(
            f"{capture.stat().st_size / 1e9:.2f} GB, only addresses changed: the same samples in other flows"
        )
        run(capture, *asked, "--no-reuse")
        run(capture, *asked, "--reuse")
    each = reference(options.reference)
    print(f"the {judged:,} samples judged would take it {each * judged / 3600:.1f} h (extrapolated)")


if __name__ == "__main__":
    main()
