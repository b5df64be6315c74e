"""The two sides of a recording: network namespaces that end with the process that made them.

The recorder runs in a process namespace of its own, so the kernel ends everything it started, in whatever
way the recorder ends. Each side is a network and mount namespace that belongs to a process of it; nothing
has a name that could be left behind.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mtc.laboratory.line import open_tun

_CLONE_NEWNET = 0x40000000
_SETUP = (
    "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/lock /run/sshd /run/netns && exec sleep infinity"
)
_POLL_S = 0.02
_UDP_BOUND, _TCP_LISTENING = "07", "0A"


class SideError(RuntimeError):
    """A program of a side failed; the message says which and why."""


class Side:
    """A network namespace and the programs in it."""

    def __init__(self, name: str, work: Path, environment: Mapping[str, str]) -> None:
        self.name, self.work = name, work
        self._environment = {
            **environment,
            "HOME": str(work / "home"),
            "PATH": f"{work}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
        }
        self._running: list[tuple[str, subprocess.Popen[bytes], Path]] = []
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", _SETUP],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._wait_for_namespace()
        no_ipv6 = " ".join(f"net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default"))
        self.run(f"sysctl -qw {no_ipv6}; ip link set lo up")

    def _wait_for_namespace(self) -> None:
        mine = Path("/proc/self/ns/net").readlink()
        for _ in range(500):
            with contextlib.suppress(OSError):
                other = Path(f"/proc/{self._holder.pid}/ns/net").readlink() != mine
                command = Path(f"/proc/{self._holder.pid}/comm").read_text(encoding="utf-8").strip()
                if other and command == "sleep":
                    return
            time.sleep(_POLL_S)
        raise SideError(f"the {self.name} side's namespace did not come up")

    def command(self, script: str) -> list[str]:
        """The command line that runs a shell script in this side."""
        inside = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", f"--wd={self.work}"]
        return [*inside, "sh", "-ec", script]

    def run(self, script: str, timeout_s: float = 30) -> str:
        """Run a shell script to its end; its output.

        Raises:
            SideError: It failed or took too long.
        """
        try:
            done = subprocess.run(
                self.command(script),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                env=self._environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SideError(f"{self.name}: {script!r} took longer than {timeout_s:g} s") from error
        output = done.stdout.decode(errors="replace")
        if done.returncode:
            raise SideError(f"{self.name}: {script!r} ended with {done.returncode}: {_end_of(output)}")
        return output

    def start(self, label: str, script: str) -> subprocess.Popen[bytes]:
        """Start a program; its output goes to a log in the working folder."""
        log = self.work / f"{label}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                self.command(script),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self._running.append((label, child, log))
        return child

    def wait_ready(self, ready: str, timeout_s: float = 30) -> None:
        """Wait until ``tcp:PORT`` or ``udp:PORT`` is bound, ``file:PATH`` or ``device:NAME`` is there.

        The kernel's socket table is read, so that the wait sends no packet.

        Raises:
            SideError: A program of this side ended, or the time is up.
        """
        kind, _, what = ready.partition(":")
        if kind == "seconds":
            time.sleep(float(what))
            self.check_alive()
            return
        until = time.monotonic() + timeout_s
        while not self._is_ready(kind, what):
            self.check_alive()
            if time.monotonic() > until:
                raise SideError(f"{self.name}: {ready} was not there after {timeout_s:g} s{self._logs()}")
            time.sleep(_POLL_S)

    def _is_ready(self, kind: str, what: str) -> bool:
        if kind == "file":
            return (self.work / what).exists()
        if kind == "device":
            return f" {what}:" in Path(f"/proc/{self._holder.pid}/net/dev").read_text(
                encoding="ascii"
            ).replace("\n", " ")
        return int(what) in self.bound_ports(kind)

    def bound_ports(self, transport: str) -> set[int]:
        """Ports on which a program of this side listens."""
        state = _TCP_LISTENING if transport == "tcp" else _UDP_BOUND
        found = set()
        for suffix in ("", "6"):
            table = Path(f"/proc/{self._holder.pid}/net/{transport}{suffix}")
            for row in table.read_text(encoding="ascii").splitlines()[1:]:
                columns = row.split()
                if columns[3] == state:
                    found.add(int(columns[1].rpartition(":")[2], 16))
        return found

    def check_alive(self) -> None:
        """Raise SideError where a program that should run has failed; daemons that detached are fine."""
        for label, child, log in self._running:
            if child.poll():
                text = log.read_text(encoding="utf-8", errors="replace")
                raise SideError(f"{self.name}: {label} ended with {child.returncode}: {_end_of(text)}")

    def _logs(self) -> str:
        texts = (log.read_text(encoding="utf-8", errors="replace") for _, _, log in self._running)
        return "; " + " | ".join(_end_of(text) for text in texts)

    def stop(self, child: subprocess.Popen[bytes], grace_s: float = 3.0) -> int:
        """End a program and its process group; its status."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=grace_s)
                break
        self._running = [entry for entry in self._running if entry[1] is not child]
        return child.returncode if child.returncode is not None else -signal.SIGKILL

    def open_tun(self, name: str) -> int:
        """Create a TUN device in this side; its file descriptor."""
        with self._entered():
            return open_tun(name)

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        """The calling thread is in this side's network namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path("/proc/self/ns/net").open("rb") as own,
            Path(f"/proc/{self._holder.pid}/ns/net").open("rb") as other,
        ):
            _set_namespace(libc, other.fileno())
            try:
                yield
            finally:
                _set_namespace(libc, own.fileno())

    @property
    def pid(self) -> int:
        """A process of this side."""
        return self._holder.pid


def _set_namespace(libc: ctypes.CDLL, descriptor: int) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _end_of(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-6:])[-600:] or "no output"
