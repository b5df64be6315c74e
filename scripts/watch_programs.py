"""Watch real programs: every flow that mtc watch tells, counted against tcpdump on the same link.

The programs of ``record_demo.py`` (sftp, FTPS, mail over TLS, a call by UDP, ...) talk between two network
namespaces of this machine; mtc watch and tcpdump listen on the same end of the cable. As root, with the
packages that ``record_demo.py`` names:

    .venv/bin/python scripts/watch_programs.py [--keep FOLDER]

prints both counts, flow by flow where they differ, and ends with status 1 then.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mtc.capture import open_capture
from mtc.flows import FlowTable
from mtc.packets import decode
from record_demo import CLIENT, SERVER, converse, namespaces, process
from record_demo_services import CONVERSATIONS, SERVERS, prepare

MTC = Path(sys.executable).parent / "mtc"


def wait_for(log: Path, text: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not (log.exists() and text in log.read_text(errors="replace")):
        if time.monotonic() > until:
            sys.exit(f"{log}: no {text!r} within {seconds} s")
        time.sleep(0.2)


def record(work: Path) -> tuple[Path, Path]:
    """Let the programs talk; returns what tcpdump and what mtc watch saw."""
    capture, events = work / "tcpdump.pcap", work / "watch.log"
    prepare(work, CLIENT, SERVER)
    sniff = ["tcpdump", "-i", "eth0", "--immediate-mode", "-U", "-Z", "root", "-w", str(capture)]
    watch = [str(MTC), "watch", "eth0", "--stats-interval", "1", "--idle-timeout", "600"]
    with namespaces(), ExitStack() as running:
        for name, command in SERVERS.items():
            running.enter_context(process("mtc-server", command(work, SERVER), work / f"server-{name}.log"))
        time.sleep(4)
        with process("mtc-server", watch, events, signal.SIGINT):
            wait_for(events, '"stats"')
            with process("mtc-server", sniff, work / "tcpdump.log", signal.SIGINT):
                wait_for(work / "tcpdump.log", "listening")
                for conversation in CONVERSATIONS:
                    print(f"{conversation.name} ...", flush=True)
                    converse(conversation, work)
                time.sleep(1)
    return capture, events


def flows_of(capture: Path) -> dict[str, int]:
    """Community id -> packets."""
    table = FlowTable()
    with open_capture(capture) as reader:
        for batch in reader:
            table.update(decode(batch), batch)
    records = table.records()
    return {records.community_id(i): int(records.packets[i]) for i in range(len(records))}


def flows_told(events: list[dict[str, Any]]) -> dict[str, int]:
    told: Counter[str] = Counter()
    for event in events:
        if event.get("state") == "end":
            told[event["community_id"]] += event["flow"]["pkts_toserver"] + event["flow"]["pkts_toclient"]
    return dict(told)


def report(capture: Path, log: Path) -> bool:
    events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    seen, told = flows_of(capture), flows_told(events)
    last = events[-1]
    print(f"tcpdump: {len(seen)} flows, {sum(seen.values())} packets of TCP and UDP")
    print(f"mtc watch: {len(told)} flows, {sum(told.values())} packets of TCP and UDP")
    print(f"dropped: {last['dropped']}, final: {last['final']}")
    for flow in sorted(seen.keys() | told.keys()):
        if seen.get(flow) != told.get(flow):
            print(f"{flow}: tcpdump {seen.get(flow)}, mtc watch {told.get(flow)}")
    for event in events:
        if event.get("state") == "end" and event["samples_judged"]:
            verdicts = ", ".join(f"{v['label']} {v['confidence']:.2f}" for v in event["tasks"].values())
            print(f"{event['proto']} {event['src_port']} > {event['dest_port']}: {verdicts}")
    return seen == told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path, help="keep capture, events and logs here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        work.chmod(0o755)
        capture, log = record(work)
        same = report(capture, log)
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            for path in (capture, log):
                shutil.copy(path, arguments.keep)
    sys.exit(not same)


if __name__ == "__main__":
    main()
