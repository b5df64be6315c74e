import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtc.numba_cache import ROOMS, _Compiling, forget_stale_kernels


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a kernel, a file without one, and an index in each room, all of one time."""
    for room in ROOMS:
        (tmp_path / room / "__pycache__").mkdir(parents=True)
        (tmp_path / room / "fast.py").write_text("from numba import njit\n")
        (tmp_path / room / "plain.py").write_text("import json\n")
        (tmp_path / room / "__pycache__" / "fast.f-1.py311.nbi").write_bytes(b"")
    for path in tmp_path.rglob("*.*"):
        os.utime(path, (1000, 1000))
    return tmp_path


def rooms_compiled(package: Path) -> set[str]:
    return {index.relative_to(package).parts[0] for index in package.rglob("*.nbi")}


def test_nothing_changed(package: Path) -> None:
    forget_stale_kernels(package)
    assert rooms_compiled(package) == set(ROOMS)


def test_a_changed_kernel_makes_those_stale_that_may_call_it(package: Path) -> None:
    os.utime(package / "datasets" / "fast.py", (2000, 2000))
    forget_stale_kernels(package)
    assert rooms_compiled(package) == {"capture", "packets", "flows"}


def test_a_changed_file_without_kernels_makes_none_stale(package: Path) -> None:
    os.utime(package / "capture" / "plain.py", (2000, 2000))
    forget_stale_kernels(package)
    assert rooms_compiled(package) == set(ROOMS)


def test_kernels_compiled_after_the_change_stay(package: Path) -> None:
    os.utime(package / "capture" / "fast.py", (2000, 2000))
    for index in package.rglob("*.nbi"):
        os.utime(index, (3000, 3000))
    os.utime(package / "models" / "__pycache__" / "fast.f-1.py311.nbi", (1500, 1500))
    forget_stale_kernels(package)
    assert rooms_compiled(package) == {"capture", "packets", "flows", "datasets"}


def test_a_package_that_never_compiled(tmp_path: Path) -> None:
    forget_stale_kernels(tmp_path)
    assert not list(tmp_path.iterdir())


def test_long_compiling_is_reported_and_short_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("mtc.numba_cache.time.monotonic", lambda: now[0])
    compiling = _Compiling()
    compiling.begin("other.module")
    compiling.begin("mtc.capture.kernels")
    now[0] += 0.5
    compiling.end()
    assert capsys.readouterr().err == ""
    for _ in range(3):
        compiling.begin("mtc.packets.decode")
        compiling.begin("numba.np")  # what a kernel calls is compiled inside it
        now[0] += 6
        compiling.end()
        compiling.end()
    first, *others = capsys.readouterr().err.splitlines()
    assert "only the first run" in first
    assert others == ["mtc: compiling kernels: 6 done in 18 s"]


def test_kernels_of_others_are_not_reported() -> None:
    code = (
        "from mtc.numba_cache import report_compiling; report_compiling()\n"
        "from numba import njit; print(njit(lambda x: x + 1)(1))"
    )
    env = {name: value for name, value in os.environ.items() if name != "MTC_REPORT_COMPILING"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert (done.stdout, done.stderr) == ("2\n", "")


@pytest.mark.parametrize("writable", ["package", "home", "temporary", "nothing"])
def test_kernels_find_a_place_in_a_hardened_container(tmp_path: Path, writable: str) -> None:
    """As in a read-only container: one kernel compiled and run, with a place or without any."""
    places = {name: tmp_path / name for name in ("package", "home", "temporary")}
    for place in places.values():
        place.mkdir()
    code = """
import os, sys
from pathlib import Path
import mtc.numba_cache as cache
writable, package = sys.argv[1], Path(sys.argv[2])
allowed = {"package": package, "home": Path.home(), "temporary": Path(os.environ["TMPDIR"])}.get(writable)
real = os.access
os.access = lambda path, mode, **more: Path(path) == allowed and real(path, mode)
mkdir = Path.mkdir
def guarded(path, *given, **more):
    if allowed is None or allowed not in path.parents:
        raise OSError(30, "Read-only file system")
    mkdir(path, *given, **more)
Path.mkdir = guarded
os.environ.pop("NUMBA_CACHE_DIR", None)
cache.find_cache_place(package)
print(os.environ.get("NUMBA_CACHE_DIR", ""))
import numba.core.dispatcher as d
print(d.Dispatcher.enable_caching.__name__)
"""
    environment = {**os.environ, "HOME": str(places["home"]), "TMPDIR": str(places["temporary"])}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, "-c", code, writable, str(places["package"])]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    place, caching = done.stdout.splitlines()
    assert place.startswith(str(places["temporary"])) == (writable == "temporary")
    assert (caching == "<lambda>") == (writable == "nothing")
