"""How fast mtc watch takes packets from a link, what it loses beyond that, and whether its memory stays flat.

Packets of captures are replayed with tcpreplay over a veth pair in a network namespace of their own
(nothing leaves it), and counted at both ends. As root, with tcpreplay and iproute2:

    unshare --net .venv/bin/python benchmarks/watch.py prepare ../shared/data/labelled-captures replay.pcap
    unshare --net .venv/bin/python benchmarks/watch.py rates replay.pcap --rates 2000 5000 10000 --seconds 20
    unshare --net .venv/bin/python benchmarks/watch.py soak replay.pcap --rate 2000 --seconds 1200
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dpkt
import numpy as np

from mtc.capture import CaptureReader, expand_inputs, open_capture
from mtc.errors import CaptureError
from mtc.flows import FlowTable
from mtc.packets import decode

OUT, IN = "mtc-out", "mtc-in"
ETHERNET = 1
LARGEST = 60_000


def prepare(source: Path, target: Path) -> None:
    """All Ethernet packets of captures as one capture; damaged ones up to their damage."""
    kept = 0
    with target.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for capture in expand_inputs([source]):
            try:
                reader = open_capture(capture)
            except CaptureError:
                continue
            with reader:
                kept += _copy(reader, writer)
    print(f"{kept} packets, {target.stat().st_size} bytes")


def _copy(reader: CaptureReader, writer: Any) -> int:
    kept = 0
    for batch in reader:
        for i in np.flatnonzero((batch.link_types == ETHERNET) & (batch.caplens >= 60)).tolist():
            if batch.caplens[i] <= LARGEST:
                writer.writepkt(batch.packet(i).tobytes(), ts=kept / 1000)
                kept += 1
    return kept


def transport_packets(capture: Path) -> tuple[int, int, int]:
    """Packets, packets with a five-tuple, and five-tuples."""
    table, packets = FlowTable(), 0
    with open_capture(capture) as reader:
        for batch in reader:
            table.update(decode(batch), batch)
            packets += len(batch)
    return packets, int(table.records().packets.sum()), len(table)


def cable() -> None:
    for words in (
        f"ip link add {OUT} type veth peer name {IN}",
        *(f"sysctl -qw net.ipv6.conf.{end}.disable_ipv6=1" for end in (OUT, IN)),
        *(f"ip link set {end} mtu 65535 up" for end in (OUT, IN)),
    ):
        subprocess.run(words.split(), check=True)
    time.sleep(0.5)


def sent_packets() -> int:
    told = subprocess.run(["ip", "-s", "-j", "link", "show", OUT], check=True, capture_output=True)
    return int(json.loads(told.stdout)[0]["stats64"]["tx"]["packets"])


class Watched:
    """A running mtc watch, and what it has told."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.log = folder / "stats.jsonl"
        command = [str(Path(sys.executable).parent / "mtc"), "watch", IN, *options]
        self.process = subprocess.Popen(command, stdout=self.log.open("wb"))
        until = time.monotonic() + 120
        while not self.events("stats"):
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit("mtc watch did not start")
            time.sleep(0.2)

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if f'"event_type":"{kind}"' in line and line.endswith("}")]

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


def replay(capture: Path, rate: int, seconds: float) -> None:
    speed = ["--topspeed"] if rate == 0 else [f"--pps={rate}", "--pps-multi=8"]
    command = ["tcpreplay", "-q", "--loop=0", f"--duration={int(seconds)}", "--preload-pcap", *speed]
    subprocess.run(
        [*command, "-i", OUT, str(capture)], check=True, capture_output=True, timeout=seconds + 120
    )


def rates(capture: Path, wanted: list[int], seconds: float, options: list[str]) -> None:
    """One line a rate: what was sent, taken and lost."""
    cable()
    for rate in wanted:
        with (
            tempfile.TemporaryDirectory() as folder,
            Watched(Path(folder), ["--stats-interval", "1", "--json", *options]) as watched,
        ):
            sent, began = sent_packets(), time.monotonic()
            replay(capture, rate, seconds)
            took = time.monotonic() - began
            sent = sent_packets() - sent
            lowest = min(event["sampling_rate"] for event in watched.events("stats"))
            watched.stop()
            last = watched.events("stats")[-1]
            dropped = last["dropped"]
            lost = sent - last["packets"]
            reported = dropped["kernel"] + dropped["queue"]
            line = {
                "asked_per_s": rate,
                "sent": sent,
                "sent_per_s": round(sent / took),
                "taken": last["packets"],
                "lost": lost,
                "reported": reported,
                "kernel": dropped["kernel"],
                "queue": dropped["queue"],
                "sampling": dropped["sampling"],
                "lowest_rate": lowest,
                "flows": last["flows"]["ended"],
                "judged_flows": last["flows"]["judged"],
                "final": last["final"],
            }
            print(json.dumps(line), flush=True)


def soak(capture: Path, rate: int, seconds: float, options: list[str]) -> None:
    """A long replay: memory by the minute, and the packets of all flows against those sent."""
    packets, transport, tuples = transport_packets(capture)
    cable()
    with (
        tempfile.TemporaryDirectory() as folder,
        Watched(Path(folder), ["--stats-interval", "10", "--json", *options]) as watched,
    ):
        sent = sent_packets()
        replay(capture, rate, seconds)
        sent = sent_packets() - sent
        time.sleep(3)
        watched.stop()
        stats = watched.events("stats")
        ends = [event for event in watched.events("flow_verdict") if event["state"] == "end"]
        told = sum(event["flow"]["pkts_toserver"] + event["flow"]["pkts_toclient"] for event in ends)
        loops, rest = divmod(sent, packets)
        memory = [round(event["rss_bytes"] / 2**20) for event in stats]
        print(f"sent {sent} packets ({loops} loops and {rest}), taken {stats[-1]['packets']}")
        print(
            f"dropped {stats[-1]['dropped']}, lowest sampling rate {min(e['sampling_rate'] for e in stats)}"
        )
        print(f"transport packets of whole loops {loops * transport}, in events of flows {told}")
        print(f"five-tuples {tuples}, community ids told {len({event['community_id'] for event in ends})}")
        print(f"flows ended {len(ends)}, flows by the final stats {stats[-1]['flows']}")
        print(f"memory, MiB, every minute: {memory[::6]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare")
    command.add_argument("source", type=Path)
    command.add_argument("target", type=Path)
    for name in ("rates", "soak"):
        command = commands.add_parser(name)
        command.add_argument("capture", type=Path)
        command.add_argument("--seconds", type=float, default=20)
        command.add_argument("--options", default="", help="further options of mtc watch")
    commands.choices["rates"].add_argument(
        "--rates", type=int, nargs="+", default=[2000], help="0: top speed"
    )
    commands.choices["soak"].add_argument("--rate", type=int, default=2000)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(arguments.source, arguments.target)
        return
    if os.geteuid() != 0:
        sys.exit("only root can make a cable")
    options = arguments.options.split()
    if arguments.command == "rates":
        rates(arguments.capture, arguments.rates, arguments.seconds, options)
    else:
        soak(arguments.capture, arguments.rate, arguments.seconds, options)


if __name__ == "__main__":
    main()
