"""The process of one job: its limits, its task, and what it reports to the server.

It talks to the server in JSON, so that a capture which took it over could not have the server run code.
"""

import errno
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mtc.errors import MtcError

Task = dict[str, Any]
Report = Callable[[dict[str, Any]], None]

KINDS = ("classify", "packets", "explain")
MOST_MESSAGE = 4 << 20
"""Bytes of one message to the server."""

MOST_FILES = 256
"""Files that a job has open at a time."""

OUT_OF_MEMORY = "needs more memory than a job may take"
DEFECT = "a defect: this capture broke the job"


def main(connection: Connection, text: str) -> None:
    """Do a task and send the answer; runs in the child."""
    task: Task = json.loads(text)

    def report(message: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends its jobs
        _confine(task)  # while this is the only thread
        _end_with(os.getppid())
        answer = _do(task, report)
    except MtcError as error:
        answer = {"failed": str(error)}
    except MemoryError:
        answer = {"failed": OUT_OF_MEMORY}
    except Exception as error:
        answer = {"failed": _reason(error)}
        if answer["failed"] == DEFECT:
            traceback.print_exc(file=sys.stderr)
    report(answer)
    connection.close()
    sys.stderr.flush()
    os._exit(0)  # nothing is left to tidy up, and tidying up takes time


def _confine(task: Task) -> None:
    """Keep the process to its own folder and its model, and out of the network."""
    import tempfile

    from numba.core import caching

    from mtc.serving.http.work import sandbox

    folder = Path(task["folder"])
    tempfile.tempdir = str(folder)
    # What is compiled here is not kept: the folder of compiled code is not this process's to write.
    setattr(caching.Cache, "save_overload", lambda cache, signature, data: None)  # noqa: B010
    sandbox.confine(folder, [Path(path) for path in task.get("readable", ())])


def _do(task: Task, report: Report) -> dict[str, Any]:
    kind = task["kind"]
    if kind not in KINDS:
        raise ValueError(kind)
    from mtc.models.engine.threads import use_threads  # slow to import

    work = import_module(f"mtc.serving.http.work.{kind}")
    use_threads(task["threads"])
    _restrict(task)
    return {"done": work.run(task, report)}


def _restrict(task: Task) -> None:
    """Limits that the kernel keeps; what the process begins with is not counted."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (task["result_bytes"],) * 2)
    cpu_s = int(task["seconds"] * task["threads"]) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    if task["memory_bytes"]:
        limit = _data_bytes() + task["memory_bytes"]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _data_bytes() -> int:
    """Writable private memory of this process."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # no /proc: as much as a process holds that has loaded everything
        return 2 << 30
    sizes = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(sizes["VmData"].split()[0]) * 1024


def _end_with(parent: int) -> None:
    """End when the process that forked this one has ended: a job outlives no server."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _reason(error: Exception) -> str:
    if isinstance(error, RuntimeError | OSError) and "memory" in str(error).lower():
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the server's disk takes no more results"
    return DEFECT
