"""Builds in several processes, and builds that were killed: always the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mtc.datasets import build_cicids2017, build_iscx
from mtc.datasets.build import build
from mtc.datasets.cicids2017 import staging as cicids_staging
from mtc.parallel import WorkerLost

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
NAMES = ("aim_chat_3a", "email1a", "facebook_chat_4a", "icq_chat_3a", "skype_chat1a", "spotify1")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, write_capture: Write) -> Path:
    folder = tmp_path_factory.mktemp("interruption") / "in"
    for i, name in enumerate(NAMES):
        packets = [(40_000 + 10 * i + k % 9, 443, bytes([i, k % 251, 1])) for k in range(2_000 + 500 * i)]
        write_capture(folder / f"{name}.pcap", packets)
    (folder / "email1b.pcap").write_text("no capture")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(source: Path) -> dict[str, bytes]:
    build_iscx(source, source.parent / "whole", cap=1_500)
    return contents(source.parent / "whole")


def test_same_bytes_in_several_processes(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    build_iscx(source, tmp_path / "out", cap=1_500, workers=2, progress=lambda *step: told.append(step))
    assert contents(tmp_path / "out") == whole
    sizes = {path.stem: path.stat().st_size for path in source.iterdir()}
    read = {name: sum(n for told_name, n, _ in told if told_name == name) for name in NAMES}
    assert read == {name: sizes[name] for name in NAMES}
    assert {total for _, _, total in told} == {sum(sizes.values()) - sizes["email1b"]}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, write_table: Write) -> Path:
    folder = tmp_path_factory.mktemp("interruption") / "in"
    for i, day in enumerate(("Monday", "Tuesday", "Wednesday", "Thursday")):
        labels = [b"BENIGN"] * 700 + [b"PortScan"] * 25 + [b"DoS Hulk"] * 100
        write_table(folder / f"{day}-WorkingHours.csv", labels, seed=i)
        rows = (folder / f"{day}-WorkingHours.csv").read_bytes().splitlines()
        (folder / f"{day}-WorkingHours.csv").write_bytes(b"\n".join([rows[0], *(4 * rows[1:])]))
    (folder / "broken.csv").write_text("no table")
    return folder


@pytest.fixture(scope="module")
def whole_table(tables: Path) -> dict[str, bytes]:
    build_cicids2017(tables, tables.parent / "whole")
    return contents(tables.parent / "whole")


KINDS = {"iscx": ("source", "whole", "--cap", 1500, "--workers", 2), "cicids2017": ("tables", "whole_table")}
"""Kind of dataset -> fixtures of its source and of what a build makes of it, and further options."""


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_three_random_moments(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source, expected = map(request.getfixturevalue, KINDS[kind][:2])
    code = "import sys; from mtc.cli import main; sys.argv[0] = 'mtc'; main()"
    options = [kind, source, tmp_path / "out", "--workers", 1, *KINDS[kind][2:]]
    command = [sys.executable, "-c", code, "dataset", *map(str, options)]
    moments = [random.uniform(0, 1) for _ in range(3)]
    workers: set[int] = set()
    for moment in moments:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun = tmp_path / ".out.building" / f"dataset.{process.pid}"
        while not begun.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moment)
        workers |= set(children(process.pid))
        process.kill()
        process.wait()
    last = subprocess.run(command, capture_output=True)
    assert last.returncode in (2, 3)  # 3: an unreadable file; 2: a kill came too late, OUT is whole
    assert contents(tmp_path / "out") == expected, moments
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_tables_that_were_read_are_not_read_again(
    tables: Path, whole_table: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, opened = cicids_staging.open_table, []

    def interrupted(table: object) -> object:
        opened.append(table.title)  # type: ignore[attr-defined]
        if len(opened) == 3:
            raise KeyboardInterrupt
        return original(table)  # type: ignore[arg-type]

    monkeypatch.setattr(cicids_staging, "open_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_cicids2017(tables, tmp_path / "out")
    assert (tmp_path / ".out.building").is_dir()
    build_cicids2017(tables, tmp_path / "out")
    assert not set(opened[:2]) & set(opened[3:])
    assert contents(tmp_path / "out") == whole_table
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_a_build_goes_on_where_it_was(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, staged = build.stage_capture, []

    def interrupted(capture: object, *arguments: object, **settings: object) -> object:
        staged.append(capture.name)  # type: ignore[attr-defined]
        if len(staged) == 4:
            raise KeyboardInterrupt
        return original(capture, *arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "stage_capture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_iscx(source, tmp_path / "out", cap=1_500)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".out.building").is_dir()
    changed = source / f"{staged[0]}.pcap"
    os.utime(changed, ns=(1, 1))  # another file, for all that we know
    build_iscx(source, tmp_path / "out", cap=1_500)
    assert sorted(staged[4:]) == sorted([staged[0], *staged[3:4], *set(NAMES) - set(staged[:4])])
    assert contents(tmp_path / "out") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_lost_process_is_told_and_what_it_staged_stays(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    def kill_one(*step: object) -> None:
        for pid in children(os.getpid()):
            if b"multiprocessing.spawn" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                break

    with pytest.raises(WorkerLost, match="was killed"):
        build_iscx(source, tmp_path / "out", cap=1_500, workers=2, progress=kill_one)
    assert (tmp_path / ".out.building").is_dir()
    build_iscx(source, tmp_path / "out", cap=1_500)
    assert contents(tmp_path / "out") == whole
