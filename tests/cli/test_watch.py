"""``mtc watch`` as a user runs it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mtc.cli.watch.table import WatchTable

DEMO = Path(__file__).parents[2] / "src/mtc/assets/demo.pcap"
MTC = [sys.executable, "-m", "mtc", "watch"]


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*MTC, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_standard_input_to_lines_and_a_file(tmp_path: Path) -> None:
    sink = tmp_path / "events.jsonl"
    sinks = ("--sink", "stdout", "--sink", f"file:{sink}", "--spool", str(tmp_path))
    done = run("-", *sinks, stdin=DEMO.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(event.get("state") == "end" for event in events) == 19
    assert events[-1]["final"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\+[0-9a-f]{12}", events[0]["model"]["version"])
    # The last stats are taken before the file has its last events.
    assert sink.read_bytes() == done.stdout
    assert list(tmp_path.glob("*/*.jsonl")) == []  # nothing is left in the buffer


def test_a_signal_ends_it_with_the_last_flows(tmp_path: Path) -> None:
    pipe, out = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    keeper = os.open(pipe, os.O_RDWR)
    with out.open("wb") as output:
        running = subprocess.Popen(
            [*MTC, str(pipe), "--stats-interval", "0.3"], stdout=output, stderr=subprocess.PIPE
        )
        os.write(keeper, DEMO.read_bytes()[:60_000])
        until = time.monotonic() + 60
        while b'"stats"' not in out.read_bytes() and time.monotonic() < until:
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)  # tests/serving/test_replay.py ends one by SIGINT
        _, told = running.communicate(timeout=60)
    os.close(keeper)
    assert (running.returncode, told) == (0, b"")
    events = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert events[-1]["final"]
    assert sum(event.get("state") == "end" for event in events) == events[-1]["flows"]["total"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch0"], "nosuch0: no such interface or file"),
        ([str(DEMO), "--filter", "tcp"], "--filter is of an interface"),
        ([str(DEMO), "--sink", "pigeon:x"], "no such sink"),
        ([str(DEMO), "--sink", "http://[::1/"], "--sink http://[::1/: Invalid IPv6 URL"),
        ([str(DEMO), "--rotate-mb", "inf"], "must be positive, and finite"),
        ([str(DEMO), "--spool-mb", "nan"], "must be positive, and finite"),
        ([str(DEMO), "--stats-interval", "nan"], "must be positive, and finite"),
        (["lo", "--ring-mb", "2048"], "--ring-mb must be below 2048"),
        ([str(DEMO), "--pseudonymize", "nosuchkey"], "nosuchkey: no such file"),
    ],
)
def test_one_line_and_status_2(mtc: Callable[..., Any], arguments: list[str], message: str) -> None:
    done = mtc("watch", *arguments)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert message in done.err


def test_help_names_every_sink(mtc: Callable[..., Any]) -> None:
    told = mtc("watch", "--help").out
    for name in ("stdout", "file:PATH", "parquet:DIR", "kafka://", "https://", "syslog://", "--pseudonymize"):
        assert name in told


def event(number: int, label: str = "SFTP", **more: object) -> dict[str, object]:
    found = {"label": label, "confidence": 0.75} | ({"likeliest": "SCP"} if label == "unknown" else {})
    flow = {"pkts_toserver": 2, "pkts_toclient": 3, "bytes_toserver": 500, "bytes_toclient": 500, "age": 2.0}
    return {
        "event_type": "flow_verdict", "flow_id": number, "src_ip": "192.0.2.1", "src_port": number,
        "proto": "TCP", "dest_ip": "192.0.2.2", "dest_port": 22, "flow": flow, "reason": "packets",
        "sampled": True,
        "tasks": {"application": found, "traffic": None},
    } | more  # fmt: skip


class Told:
    """Stands in for a watch: what it says of itself."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def stats(self) -> dict[str, object]:
        self.seconds += 1
        return {
            "uptime_s": self.seconds, "packets": 1000 * int(self.seconds),
            "bytes": 500_000 * int(self.seconds),
            "dropped": {"kernel": 7, "interface": 0, "queue": 0, "sampling": 0}, "sampling_rate": 0.5,
            "flows": {"active": 3, "total": 9}, "samples": {"judged": 42},
        }  # fmt: skip


def test_table_on_a_terminal() -> None:
    console = Console(force_terminal=True, width=140, height=24, record=True, file=io.StringIO())
    told = Told()
    with WatchTable("eth0", ("application", "traffic"), console) as table:
        for number in range(600):
            table.add(event(number))
        table.add(event(5, "unknown"))
        for _ in range(60):
            table.update(told)  # type: ignore[arg-type]
    text = console.export_text()
    last = text[text.rindex("eth0") :]
    assert "unknown 0.75" in last.splitlines()[4]  # the latest stands first
    assert "192.0.2.1:599 > 192.0.2.2:22" in last
    assert "192.0.2.1:500 " not in last
    assert "1,000 packets/s" in last
    assert "4 Mbit/s" in last
    assert "4 kbit/s" in last
    assert "kernel 7" in last
    assert "new flows classified: 50.0%" in last
