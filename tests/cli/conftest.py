"""The command line as a user meets it: arguments in, status, data and messages out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dpkt
import pytest

from mtc.cli import main


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@pytest.fixture
def mtc(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Function: arguments -> status, stdout and stderr of ``mtc``."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr("sys.argv", ["mtc", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code
        return Result(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


@pytest.fixture
def run_dataset(mtc: Callable[..., Result]) -> Callable[..., tuple[int, str, str]]:
    """Function: arguments -> status, stdout and stderr of ``mtc dataset``."""

    def run(*arguments: object) -> tuple[int, str, str]:
        done = mtc("dataset", *arguments)
        return done.status, done.out, done.err

    return run


CLIENT, SERVER = b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x02"


def segment(source: int, target: int, payload: bytes, flags: int = dpkt.tcp.TH_ACK) -> bytes:
    """An Ethernet frame with a TCP segment between 192.0.2.1 and 192.0.2.2, which has the lower port."""
    ends = (CLIENT, SERVER) if source > target else (SERVER, CLIENT)
    tcp = dpkt.tcp.TCP(sport=source, dport=target, data=payload, flags=flags, seq=1, ack=1)
    ip = dpkt.ip.IP(src=ends[0], dst=ends[1], p=6, ttl=64, data=tcp)
    ip.len = len(ip)
    return bytes(dpkt.ethernet.Ethernet(src=b"\x02" * 6, dst=b"\x04" * 6, data=ip))


@pytest.fixture(scope="session")
def write_pcap() -> Callable[..., Path]:
    """Function: path, frames -> path of a pcap, a packet a second from 1000 s."""

    def write(path: Path, frames: list[bytes]) -> Path:
        with path.open("wb") as file:
            writer = dpkt.pcap.Writer(file)
            for second, frame in enumerate(frames):
                writer.writepkt(frame, ts=1000 + second)
        return path

    return write


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory, write_pcap: Callable[..., Path]) -> Path:
    """Three packets: two with payload in one flow, and a SYN alone in another."""
    frames = [
        segment(1234, 443, b"hello"),
        segment(443, 1234, b"hello yourself"),
        segment(4321, 22, b"", dpkt.tcp.TH_SYN),
    ]
    return write_pcap(tmp_path_factory.mktemp("captures") / "three.pcap", frames)
