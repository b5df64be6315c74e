"""The process of a job keeps to its limits, and says which one it met."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow

JOB = """
import sys
from multiprocessing import get_context
from types import SimpleNamespace

import torch

from mtc.serving.http.work import process


def run(task, tell):
    held = [b"x" * (1 << 20) for _ in range(task["megabytes"])]
    with open(task["folder"] + "/result", "wb") as file:
        file.write(bytes(task["written"]))
    return {"held": len(held)}


process.import_module = lambda name: SimpleNamespace(run=run)  # in place of a capture
context = get_context("fork")
for task in sys.argv[1:]:
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=process.main, args=(theirs, task))
    child.start()
    theirs.close()
    print(ours.recv_bytes().decode(), flush=True)
    child.join()
"""
LIMITS = {"kind": "classify", "seconds": 60, "threads": 1, "memory_bytes": 64 << 20, "result_bytes": 1 << 20}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of a job that is modest, one that takes too much memory, and one that writes too much."""
    folder = tmp_path_factory.mktemp("job")
    tasks = [
        {**LIMITS, "folder": str(folder), "megabytes": megabytes, "written": written}
        for megabytes, written in ((30, 1 << 19), (200, 0), (0, 1 << 21))
    ]
    command = [sys.executable, "-c", JOB, *map(json.dumps, tasks)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=200)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_modest_job_is_done(answers: list[dict[str, Any]]) -> None:
    assert answers[0] == {"done": {"held": 30}}


def test_memory_is_limited(answers: list[dict[str, Any]]) -> None:
    assert answers[1] == {"failed": "needs more memory than a job may take"}


def test_what_it_writes_is_limited(answers: list[dict[str, Any]]) -> None:
    assert "failed" in answers[2]
