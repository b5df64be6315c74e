"""One recording: two sides joined by a line, perhaps a tunnel, a server and a client.

Runs as a process of its own (``python -m mtc.laboratory.recorder JOB.json``), first in its own process
namespace: when it ends, in whatever way, the kernel ends all that it started.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mtc.laboratory.content import HOST, write_content
from mtc.laboratory.line import run_line
from mtc.laboratory.plans import PLAIN, Job, Line
from mtc.laboratory.recipes import Process, Recipe, Tunnel, fill, load_recipes, load_tunnels
from mtc.laboratory.sides import Side, SideError

WORK = Path("/mnt/recording")
"""Working folder of a recording: on a file system in memory that only its processes see."""
_LINE_DEVICE = "line0"
_SETTLE_S = 0.3
"""Seconds after the client has ended in which what is still under way arrives."""


def main() -> int:
    """Record the job of the file given; write the result as JSON to standard output."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    job = Job.from_json(order["job"])
    recipe = load_recipes(order["folders"])[job.recipe]
    tunnel = None if job.tunnel == PLAIN else load_tunnels()[job.tunnel]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        result = _Recording(job, recipe, tunnel, Path(order["capture"]), Path(order["inner"])).run()
    except (SideError, OSError, subprocess.CalledProcessError) as error:
        result = {"failed": " ".join(str(error).split())}
    print(json.dumps(result))
    return 0


class _Recording:
    """The steps of a recording, in their order."""

    def __init__(self, job: Job, recipe: Recipe, tunnel: Tunnel | None, capture: Path, inner: Path) -> None:
        self._job, self._recipe, self._tunnel = job, recipe, tunnel
        self._capture, self._inner = capture, inner
        self._values = placeholders(job, tunnel)

    def run(self) -> dict[str, object]:
        """Record and check; what the labels need."""
        _private_file_systems(self._values["server"])
        write_content(WORK, self._values["server"], self._job.session, self._job.seed)
        client, server = (Side(name, WORK, self._environment()) for name in ("client", "server"))
        sides = {"client": client, "server": server}
        with self._line(client, server):
            if self._tunnel is not None:
                self._open_tunnel(sides)
            self._write_files(self._recipe.files, self._recipe.prepare, server)
            self._start(sides, self._recipe.processes, "server")
            with self._inner_capture(client):
                time.sleep(self._job.start_delay_s)
                seconds = self._converse(client)
                time.sleep(_SETTLE_S)
        log = _log(WORK / "client.log")
        return {"seconds": round(seconds, 2), "congestion": self._congestion(), "log": log}

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "LC_ALL": "C.UTF-8", "SSL_CERT_FILE": f"{WORK}/tls.crt", "XDG_RUNTIME_DIR": "/run"}

    @contextlib.contextmanager
    def _line(self, client: Side, server: Side) -> Iterator[None]:
        """Join the sides; everything that crosses is in the capture."""
        values, line = self._values, self._job.line
        addresses = {"client": values["outer_client"], "server": values["outer_server"]}
        join = self._veth if line.offload else self._tun_line
        with join(client, server, line):
            for side in (client, server):
                side.run(
                    f"ip address add {addresses[side.name]}/24 dev {_LINE_DEVICE} && "
                    f"ip link set {_LINE_DEVICE} mtu {line.mtu} up"
                )
                if line.congestion:
                    side.run(f"sysctl -qw net.ipv4.tcp_congestion_control={line.congestion}")
            yield

    @contextlib.contextmanager
    def _tun_line(self, client: Side, server: Side, line: Line) -> Iterator[None]:
        ends = client.open_tun(_LINE_DEVICE), server.open_tun(_LINE_DEVICE)
        process = multiprocessing.get_context("fork").Process(
            target=run_line, args=(*ends, line, self._job.seed, self._capture)
        )
        process.start()
        try:
            yield
        finally:
            process.terminate()
            process.join()

    @contextlib.contextmanager
    def _veth(self, client: Side, server: Side, line: Line) -> Iterator[None]:
        """A veth pair, with the kernel's offloading on, recorded at the client's end."""
        client.run(
            f"ip link add {_LINE_DEVICE} type veth peer name {_LINE_DEVICE} netns /proc/{server.pid}/ns/net"
        )
        if line.delay_ms or line.loss_percent or line.rate_mbit_s:
            rate = f" rate {line.rate_mbit_s}mbit" if line.rate_mbit_s else ""
            for side in (client, server):
                side.run(
                    f"tc qdisc add dev {_LINE_DEVICE} root netem delay {line.delay_ms}ms {line.jitter_ms}ms "
                    f"loss {line.loss_percent}%{rate}"
                )
        with _tcpdump(client, _LINE_DEVICE, self._capture):
            yield

    def _open_tunnel(self, sides: Mapping[str, Side]) -> None:
        tunnel = self._tunnel
        assert tunnel is not None
        port = self._values["tunnel_port"]
        for side in sides.values():
            # Nothing but the tunnel may cross the line: programs that look for other ways (WebRTC, SIP,
            # torrents) would make the label wrong.
            for chain in ("INPUT", "OUTPUT"):
                device = f"-{chain[0].lower()} {_LINE_DEVICE}"
                for direction in ("--sport", "--dport"):
                    side.run(
                        f"iptables -A {chain} {device} -p {tunnel.transport} {direction} {port} -j ACCEPT"
                    )
                side.run(f"iptables -A {chain} {device} -j DROP")
        self._write_files(tunnel.files, tunnel.prepare, sides["server"])
        self._start(sides, tunnel.processes, "tunnel")

    def _write_files(self, files: Mapping[str, str], prepare: str, side: Side) -> None:
        for name, text in files.items():
            path = WORK / fill(name, self._values)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fill(text, self._values), encoding="utf-8")
            if text.startswith("#!"):
                path.chmod(0o755)
        if prepare:
            side.run(fill(prepare, self._values), timeout_s=120)

    def _start(self, sides: Mapping[str, Side], processes: tuple[Process, ...], label: str) -> None:
        for number, process in enumerate(processes):
            side = sides[process.side]
            side.start(f"{label}-{number}", fill(process.command, self._values))
            side.wait_ready(fill(process.ready, self._values))

    @contextlib.contextmanager
    def _inner_capture(self, client: Side) -> Iterator[None]:
        """Record inside the tunnel too, where it has an interface."""
        if self._tunnel is None or not self._tunnel.device:
            yield
            return
        with _tcpdump(client, self._tunnel.device, self._inner):
            yield

    def _converse(self, client: Side) -> float:
        """Run the client; seconds that it took.

        Raises:
            SideError: It failed, or had not ended at its limit.
        """
        recipe = self._recipe
        begun = time.monotonic()
        child = client.start("client", fill(recipe.client, self._values))
        limit_s = self._job.session["seconds"] if recipe.ends == "limit" else recipe.limit_s
        try:
            status: int | None = child.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            status = None
        seconds = time.monotonic() - begun
        if recipe.ends == "exit" and status is None:
            client.stop(child)
            raise SideError(f"the client had not ended after {limit_s:g} s: {_log(WORK / 'client.log')}")
        if status is None:
            client.stop(child)
        elif status:
            raise SideError(f"the client ended with {status}: {_log(WORK / 'client.log')}")
        return seconds

    def _congestion(self) -> str:
        setting = Path("/proc/sys/net/ipv4/tcp_congestion_control")
        return self._job.line.congestion or setting.read_text(encoding="ascii").strip()


def placeholders(job: Job, tunnel: Tunnel | None) -> dict[str, str]:
    """Placeholder -> what stands for it in this recording."""
    outer = {"outer_client": f"{job.network}.2", "outer_server": f"{job.network}.1"}
    inside = tunnel is not None
    numbers = {name: f"{value:.8g}" for name, value in job.session.items()}
    return {
        **outer,
        **numbers,
        "work": str(WORK),
        "client": f"{job.inner}.2" if inside else outer["outer_client"],
        "server": f"{job.inner}.1" if inside else outer["outer_server"],
        "inner": job.inner,
        "host": HOST,
        "device": (tunnel.device or _LINE_DEVICE) if tunnel is not None else _LINE_DEVICE,
        "seed": str(job.seed),
        "tunnel_port": str((tunnel.port or job.tunnel_port) if tunnel is not None else 0),
        "python": "/usr/bin/python3",
    }


def _private_file_systems(server: str) -> None:
    """A working folder in memory and a hosts file with the server's name, for this recording alone."""
    run = ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(WORK.parent)]
    subprocess.run(run, check=True)
    WORK.mkdir()
    hosts = WORK / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{server} {HOST}\n", encoding="ascii")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


@contextlib.contextmanager
def _tcpdump(side: Side, device: str, capture: Path) -> Iterator[None]:
    """Record an interface of a side while the block runs."""
    command = (
        f"exec tcpdump -i {device} --immediate-mode --time-stamp-precision=nano -s 0 -U -Z root -w {capture}"
    )
    child = side.start(f"tcpdump-{device}", command)
    side.wait_ready(f"file:{capture}")
    time.sleep(_SETTLE_S)
    try:
        yield
    finally:
        side.stop(child)


def _log(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return " / ".join(lines[-6:])[-500:] or "no output"


if __name__ == "__main__":
    sys.exit(main())
