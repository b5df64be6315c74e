"""Builds on a Ray cluster of two workers, one of which is killed on the way: the same bytes as here.

They run where Ray is installed.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mtc.datasets import build_iscx
from mtc.errors import InputError, UsageError

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
NAMES = ("aim_chat_3a", "email1a", "facebook_chat_4a", "icq_chat_3a", "skype_chat1a", "spotify1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores, and two nodes of one core each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mtc-traffic[ray]'")
    from ray.cluster_utils import Cluster

    # Ray ends the driver, which is this process, without a word where its own node misses as many checks:
    # a busy machine must be given time.
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
    patient = {"health_check_failure_threshold": 40, "health_check_timeout_ms": 20_000}
    head = {"num_cpus": 0, "_system_config": soon | patient}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    nodes.add_node(num_cpus=1)
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, write_capture: Write) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "in"
    for i, name in enumerate(NAMES):
        write_capture(
            folder / f"{name}.pcap",
            [(40_000 + 10 * i + k % 9, 443, bytes([i, k % 251, 1])) for k in range(5_000 + 500 * i)],
        )
    (folder / "email1b.pcap").write_text("no capture")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def workers(raylet: int) -> list[int]:
    """The worker processes of a node."""
    children = [int(pid) for pid in Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()]
    return [pid for pid in children if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")]


def test_same_bytes_though_a_node_is_killed(
    cluster: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_iscx(source, tmp_path / "here", cap=1_500)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    told: list[str] = []

    def kill_a_node(name: str, read: int, total: int) -> None:
        told.append(name)
        if len(told) == 1:
            nodes = list(cluster.worker_nodes)
            raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
            assert all(map(workers, raylets)), "captures go to both nodes"
            lost = workers(raylets[0])
            cluster.remove_node(nodes[0], allow_graceful=False)
            for pid in lost:
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)

    build_iscx(source, tmp_path / "out", cap=1_500, on="ray", progress=kill_a_node)
    assert sorted(told) == sorted(NAMES)
    assert contents(tmp_path / "out") == contents(tmp_path / "here")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "out"]


def test_a_node_with_another_version_is_told(
    cluster: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setattr("mtc.__version__", "0.0.0")  # here, not there
    with pytest.raises(InputError, match="has mtc"):
        build_iscx(source, tmp_path / "out", on="ray")
    assert not list(tmp_path.iterdir())


def test_without_ray_one_line_says_what_to_install(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'mtc-traffic\[ray\]'"):
        build_iscx(source, tmp_path / "out", on="ray")
    with pytest.raises(UsageError, match="not on 'spark'"):
        build_iscx(source, tmp_path / "out", on="spark")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
