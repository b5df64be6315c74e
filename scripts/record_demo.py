"""Record the demo capture: real programs talk between two network namespaces of this machine.

Once, as root, on Debian 12 (nothing leaves the namespaces; addresses are of RFC 5737):

    apt-get install --no-install-recommends tcpdump ethtool openssh-server vsftpd lftp dovecot-imapd isync \
        exim4-daemon-light msmtp nginx-light ffmpeg baresip-core ngircd weechat-headless transmission-daemon \
        transmission-cli opentracker
    .venv/bin/python scripts/record_demo.py src/mtc/assets/demo

writes demo.pcap and demo.json: what every flow really was, known because the script started both ends.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import dpkt

from record_demo_services import CONVERSATIONS, SERVERS, Conversation, prepare

CLIENT, SERVER = "192.0.2.10", "192.0.2.20"
NETWORK = {"mtc-client": (CLIENT, "00:00:5e:00:53:10"), "mtc-server": (SERVER, "00:00:5e:00:53:20")}
OFFLOADING = ("tso", "gso", "gro", "tx", "rx")
CONVERSATION_LIMIT_S = 40


@dataclass(frozen=True)
class FlowTruth:
    """What one flow of the capture was; no application or traffic where the model knows no such class."""

    protocol: str
    src: str
    src_port: int
    dst: str
    dst_port: int
    program: str
    application: str | None
    traffic: str | None


def run(*command: str, **options: object) -> None:
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """Two namespaces joined by one cable, without offloading, so that packets are as on a wire."""
    try:
        for name in NETWORK:
            run("ip", "netns", "add", name)
        first, second = NETWORK
        run(*f"ip link add eth0 netns {first} type veth peer name eth0 netns {second}".split())
        for name, (address, mac) in NETWORK.items():
            inside = ("ip", "netns", "exec", name)
            run(*inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            run(
                *inside,
                "ethtool",
                "-K",
                "eth0",
                *(word for feature in OFFLOADING for word in (feature, "off")),
                stdout=subprocess.DEVNULL,
            )
            run(*inside, "ip", "link", "set", "eth0", "address", mac)
            run(*inside, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                run(*inside, "ip", "link", "set", device, "up")
        yield
    finally:
        for name in NETWORK:
            subprocess.run(["ip", "netns", "delete", name], check=False)


@contextlib.contextmanager
def process(namespace: str, command: list[str], log: Path, stop_with: int = signal.SIGTERM) -> Iterator[None]:
    """Run a program in a namespace and end it, with all its children, when the block ends."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            for sent in (stop_with, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, sent)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=5)


def converse(conversation: Conversation, work: Path) -> None:
    log = work / f"client-{conversation.name}.log"
    command = ["ip", "netns", "exec", "mtc-client", *conversation.client(work, SERVER)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "HOME": str(work / "home")},
        )
        try:
            status = child.wait(timeout=conversation.limit_s or CONVERSATION_LIMIT_S)
        except subprocess.TimeoutExpired:
            status = 0 if conversation.limit_s else 1
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            child.wait(timeout=10)
    if status:
        sys.exit(f"{conversation.name} failed with {status}:\n{log.read_text(errors='replace')[-2000:]}")


def truths(capture: Path) -> list[FlowTruth]:
    """One truth for every TCP and UDP flow, by its server's port."""
    by_port = {
        (protocol, port): conversation
        for conversation in CONVERSATIONS
        for protocol, ports in conversation.ports.items()
        for port in ports
    }
    found: dict[frozenset[tuple[str, int]], FlowTruth] = {}
    with capture.open("rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(frame).data
            if not isinstance(ip, dpkt.ip.IP) or not isinstance(ip.data, dpkt.tcp.TCP | dpkt.udp.UDP):
                continue
            protocol = "tcp" if isinstance(ip.data, dpkt.tcp.TCP) else "udp"
            source = (".".join(map(str, ip.src)), int(ip.data.sport))
            target = (".".join(map(str, ip.dst)), int(ip.data.dport))
            key = frozenset({(protocol, 0), source, target})
            if key not in found:
                conversation = next(
                    by_port[protocol, port] for port in (target[1], source[1]) if (protocol, port) in by_port
                )
                found[key] = FlowTruth(
                    protocol,
                    *source,
                    *target,
                    conversation.program,
                    conversation.application,
                    conversation.traffic,
                )
    return list(found.values())


def record(work: Path) -> Path:
    capture = work / "demo.pcap"
    prepare(work, CLIENT, SERVER)
    with namespaces(), contextlib.ExitStack() as running:
        for name, command in SERVERS.items():
            running.enter_context(process("mtc-server", command(work, SERVER), work / f"server-{name}.log"))
        time.sleep(4)
        sniff = [
            "tcpdump",
            "-i",
            "eth0",
            "--immediate-mode",
            "-U",
            "-Z",
            "root",
            "-w",
            str(capture),
            "tcp or udp",
        ]
        with process("mtc-client", sniff, work / "tcpdump.log", signal.SIGINT):
            time.sleep(1)
            for conversation in CONVERSATIONS:
                print(f"{conversation.name} ...", flush=True)
                converse(conversation, work)
            time.sleep(1)
    return capture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="path without suffix: OUT.pcap and OUT.json are written")
    parser.add_argument("--work", type=Path, help="keep configurations and logs of all programs here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        work.chmod(0o755)
        capture = record(work)
        flows = [asdict(truth) for truth in truths(capture)]
        shutil.copy(capture, arguments.out.with_suffix(".pcap"))
    arguments.out.with_suffix(".json").write_text(json.dumps({"flows": flows}, indent=1) + "\n")
    print(f"{len(flows)} flows, {arguments.out.with_suffix('.pcap').stat().st_size} bytes")


if __name__ == "__main__":
    main()
