"""The walls around a job, tried from inside."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mtc.serving.http.work.sandbox import missing_walls

pytestmark = pytest.mark.slow

ATTEMPTS = """
import json, mmap, os, pathlib, signal, socket, subprocess, sys, threading

from mtc.serving.http.work import sandbox

folder, secret, server = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sandbox.confine(folder, [])
found = {}


def attempt(name, do):
    try:
        found[name] = [True, repr(do())[:80]]
    except Exception as error:
        found[name] = [False, type(error).__name__]


def thread():
    ran = []
    worker = threading.Thread(target=lambda: ran.append(1))
    worker.start()
    worker.join()
    assert ran


attempt("socket", lambda: socket.socket().connect(("127.0.0.1", 9)))
attempt("socketpair", socket.socketpair)
attempt("fork", os.fork)
attempt("program", lambda: subprocess.run(["/bin/true"], check=True))
attempt("kill", lambda: os.kill(server, 0))
attempt("secret", lambda: pathlib.Path(secret).read_text())
attempt("environment of the server", lambda: pathlib.Path(f"/proc/{server}/environ").read_bytes())
attempt("write elsewhere", lambda: pathlib.Path(secret).with_name("other").write_text("x"))
attempt("shared memory", lambda: pathlib.Path("/dev/shm/mtc-sandbox-test").write_text("x"))
attempt("anonymous shared memory", lambda: mmap.mmap(-1, 1 << 20))
attempt("memory file", lambda: os.memfd_create("x"))
attempt("environment", lambda: dict(os.environ)["PATH"])
attempt("write to its folder", lambda: (folder / "result").write_text("x"))
attempt("read from its folder", lambda: (folder / "capture-0").read_text())
attempt("read the installation", lambda: pathlib.Path(sandbox.__file__).read_bytes())
attempt("thread", thread)
attempt("private memory", lambda: mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
attempt("random", lambda: os.urandom(4))
pathlib.Path(folder / "answer").write_text(json.dumps(found))
"""
ALLOWED = {
    *("write to its folder", "read from its folder", "read the installation"),
    *("thread", "private memory", "random"),
}


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if missing := missing_walls():
        pytest.skip(f"this kernel lacks {', '.join(missing)}")
    place = tmp_path_factory.mktemp("sandbox")
    (folder := place / "job").mkdir()
    (folder / "capture-0").write_text("bytes of an upload")
    (secret := place / "token").write_text("secret")
    command = [sys.executable, "-c", ATTEMPTS, str(folder), str(secret), str(os.getpid())]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found: dict[str, Any] = json.loads((folder / "answer").read_text())
    assert not Path("/dev/shm/mtc-sandbox-test").exists()
    return found


def test_a_job_gets_what_it_needs_and_nothing_else(attempts: dict[str, Any]) -> None:
    assert {name for name, (done, _) in attempts.items() if done} == ALLOWED


def test_walls_that_a_kernel_lacks_are_named(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from mtc.serving.http.work import sandbox

    def lacking(*arguments: object) -> None:
        raise OSError(38, "Function not implemented")

    for wall in ("_own_namespaces", "_only_files", "_only_harmless_calls"):
        monkeypatch.setattr(sandbox, wall, lacking)
    sandbox.try_walls()
    assert len(capsys.readouterr().out.splitlines()) == 3
