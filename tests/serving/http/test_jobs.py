"""Captures in over HTTP, verdicts out: the same as on the command line."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

import mtc

DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
Finish = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def capture() -> bytes:
    return DEMO.read_bytes()


def test_verdicts_are_those_of_the_command_line(client: httpx.Client, finish: Finish, capture: bytes) -> None:
    job = finish(capture, name="demo.pcap")
    assert (job["state"], job["progress"], job["problems"]) == ("done", 1.0, [])
    found = client.get(f"/api/v1/jobs/{job['id']}/verdicts")
    rows = [json.loads(line) for line in found.text.splitlines()]
    expected = list(mtc.Classifier.load("iscx").classify(DEMO))
    assert job["rows"] == len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert row == json.loads(json.dumps({**wanted, "capture": "demo.pcap"}))

    table = pq.read_table(io.BytesIO(_file(client, job, "parquet").content))
    assert table.num_rows == len(rows)
    assert table.column("application").to_pylist() == [row["application"]["label"] for row in rows]
    lines = _file(client, job, "csv").text.splitlines()
    assert len(lines) == len(rows) + 1
    assert lines[0].startswith("flow,protocol,src,")


def _file(client: httpx.Client, job: dict[str, Any], name: str) -> httpx.Response:
    answer = client.get(f"/api/v1/jobs/{job['id']}/verdicts", params={"format": name})
    assert answer.status_code == 200
    return answer
