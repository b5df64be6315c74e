"""Captures in over HTTP, verdicts out: the same as on the command line."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from serve_running import ended

import mtc

pytestmark = pytest.mark.slow

DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
PARALLEL = 50
Finish = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def capture() -> bytes:
    return DEMO.read_bytes()


def test_verdicts_are_those_of_the_command_line(client: httpx.Client, finish: Finish, capture: bytes) -> None:
    job = finish(capture, name="demo.pcap")
    assert (job["error"], job["state"], job["progress"], job["problems"]) == (None, "done", 1.0, [])
    rows = _rows(client, job)
    expected = list(mtc.Classifier.load("iscx").classify(DEMO))
    assert job["rows"] == len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        _same_verdict(row, json.loads(json.dumps({**wanted, "capture": "demo.pcap"})))

    table = pq.read_table(io.BytesIO(_file(client, job, "parquet").content))
    assert table.num_rows == len(rows)
    assert table.column("application").to_pylist() == [row["application"]["label"] for row in rows]
    lines = _file(client, job, "csv").text.splitlines()
    assert len(lines) == len(rows) + 1
    assert lines[0].startswith("flow,protocol,src,")


def _same_verdict(row: dict[str, Any], wanted: dict[str, Any]) -> None:
    """All is equal but the last decimals of probabilities: another process may have other threads."""
    assert row.keys() == wanted.keys()
    for name, value in wanted.items():
        if isinstance(value, dict):
            assert row[name].keys() == value.keys()
            for key, part in value.items():
                near = isinstance(part, float | dict)
                assert row[name][key] == (pytest.approx(part, abs=2e-5) if near else part)
        else:
            assert row[name] == value


def test_verdicts_on_packets(client: httpx.Client, finish: Finish, capture: bytes) -> None:
    job = finish(capture, per="packet", reject=True)
    rows = _rows(client, job)
    assert len(rows) == job["rows"] == 810  # 1,140 packets, 330 of them without payload
    assert any(row["application"]["label"] == "unknown" for row in rows)
    assert client.get(f"/api/v1/jobs/{job['id']}/flows").status_code == 409


def test_summary_flows_packets_and_reason_belong_together(
    client: httpx.Client, finish: Finish, capture: bytes
) -> None:
    job = finish(capture, name="demo.pcap")
    base = f"/api/v1/jobs/{job['id']}"
    rows = _rows(client, job)
    summary = client.get(f"{base}/summary").json()
    assert sum(summary["labels"]["application"].values()) == summary["rows"] == len(rows)
    assert sum(summary["bytes"]["application"].values()) == sum(row["bytes"] for row in rows)
    over_time = summary["timeline"]["bytes"]["application"]
    assert {label: sum(counts) for label, counts in over_time.items()} == summary["bytes"]["application"]

    label = rows[0]["application"]["label"]
    flows = client.get(f"{base}/flows", params={"task": "application", "label": label, "limit": 1}).json()
    assert flows["flows"][0]["flow"] == 1
    assert flows["total"] == sum(row["application"]["label"] == label for row in rows)

    found = client.get(f"{base}/flows/1/packets", params={"limit": 1000}).json()
    assert (len(found["packets"]), found["more"]) == (rows[0]["packets"], False)
    assert sum(packet["bytes"] for packet in found["packets"]) == rows[0]["bytes"]
    samples = [packet for packet in found["packets"] if packet["left_out"] is None]
    assert len(samples) == rows[0]["samples"]
    pages = [client.get(f"{base}/flows/1/packets", params={"limit": 60, "offset": n}).json() for n in (0, 60)]
    assert [packet for page in pages for packet in page["packets"]] == found["packets"]

    reason = client.get(f"{base}/packets/{samples[0]['packet']}/reason").json()
    assert reason["label"] == samples[0]["application"]["label"]
    assert reason["confidence"] == pytest.approx(samples[0]["application"]["confidence"], abs=1e-4)
    assert len(reason["data"]) == len(reason["names"]) == len(reason["bytes"])
    assert reason["data"][0] == 0x45
    total = sum(reason["fields"].values()) + sum(reason["numbers"].values())
    assert total == pytest.approx(reason["logit"] - reason["baseline"], abs=0.1)
    without = next(p["packet"] for p in found["packets"] if p["left_out"])
    assert client.get(f"{base}/packets/{without}/reason").status_code == 422


def test_pseudonyms_hide_addresses_everywhere(client: httpx.Client, finish: Finish, capture: bytes) -> None:
    job = finish(capture, pseudonymise=True)
    base = f"/api/v1/jobs/{job['id']}"
    rows = _rows(client, job)
    plain = _rows(client, finish(capture))
    real = {row[side] for row in plain for side in ("src", "dst")}
    names = {a[side]: b[side] for a, b in zip(plain, rows, strict=True) for side in ("src", "dst")}
    assert len(set(names.values())) == len(real)
    assert {row["community_id"] for row in rows}.isdisjoint(row["community_id"] for row in plain)
    texts = [_file(client, job, kind).content for kind in ("json", "csv", "parquet")]
    texts += [client.get(f"{base}/{part}").content for part in ("summary", "flows", "flows/1/packets")]
    sample = next(p for p in client.get(f"{base}/flows/1/packets").json()["packets"] if not p["left_out"])
    reason = client.get(f"{base}/packets/{sample['packet']}/reason")
    texts.append(reason.content)
    assert not [address for address in real for text in texts if address.encode() in text]
    assert None in reason.json()["data"]
    assert None not in reason.json()["data"][:40]


def test_several_captures_in_one_upload(client: httpx.Client, capture: bytes) -> None:
    files = [("capture", (name, capture)) for name in ("one.pcap", "two.pcap")]
    answer = client.post("/api/v1/jobs", files=files)
    assert answer.status_code == 202, answer.text
    job = ended(client, answer.json()["id"])
    assert [found["name"] for found in job["captures"]] == ["one.pcap", "two.pcap"]
    rows = _rows(client, job)
    flows = max(row["flow"] for row in rows) // 2
    packets = client.get(f"/api/v1/jobs/{job['id']}/flows/{flows + 1}/packets", params={"limit": 1}).json()
    assert (packets["capture"], packets["packets"][0]["packet"]) == ("two.pcap", 1)


def test_damage_is_told_and_what_came_before_is_used(
    client: httpx.Client, finish: Finish, capture: bytes
) -> None:
    job = finish(capture[:200_000], name="cut.pcap")
    assert job["state"] == "done"
    assert job["rows"] > 0
    assert job["problems"][0].startswith("cut.pcap: damaged at byte ")


def test_a_deleted_job_is_gone(client: httpx.Client, finish: Finish, capture: bytes) -> None:
    job = finish(capture)
    assert client.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
    assert client.get(f"/api/v1/jobs/{job['id']}").status_code == 404
    assert client.get(f"/api/v1/jobs/{job['id']}/verdicts").status_code == 404


def test_progress_is_streamed_until_the_end(client: httpx.Client, capture: bytes) -> None:
    job_id = client.post("/api/v1/jobs", content=capture).json()["id"]
    with client.stream("GET", f"/api/v1/jobs/{job_id}/progress") as answer:
        states = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert states[-1]["state"] == "done"
    assert [state["progress"] for state in states] == sorted(state["progress"] for state in states)


def test_fifty_uploads_at_once(server: Any, client: httpx.Client, short_capture: Path) -> None:
    content = short_capture.read_bytes()

    async def upload_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=PARALLEL)
        async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as many:
            return await asyncio.gather(
                *(
                    many.post("/api/v1/jobs", content=content, params={"name": str(n)})
                    for n in range(PARALLEL)
                )
            )

    answers = asyncio.run(upload_all())
    assert [answer.status_code for answer in answers] == [202] * PARALLEL
    jobs = [ended(client, answer.json()["id"]) for answer in answers]
    assert {job["state"] for job in jobs} == {"done"}
    assert {job["rows"] for job in jobs} == {len(list(mtc.Classifier.load("iscx").classify(short_capture)))}
    assert [job["captures"][0]["name"] for job in jobs] == [str(n) for n in range(PARALLEL)]


def test_metrics_count_jobs(client: httpx.Client, finish: Finish, capture: bytes) -> None:
    def number(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))

    before = number('mtc_serve_jobs_total{state="done"}') if "done" in client.get("/metrics").text else 0
    packets = number("mtc_serve_packets_total")
    finish(capture)
    assert number('mtc_serve_jobs_total{state="done"}') == before + 1
    assert number("mtc_serve_packets_total") == packets + 1140
    assert number("mtc_serve_stored_bytes") > len(capture)


def test_models_and_cards(client: httpx.Client) -> None:
    models = {model["name"]: model for model in client.get("/api/v1/models").json()}
    assert models["iscx"]["reads"] == "captures"
    assert models["cicids2017"]["reads"] == "features"
    card = client.get("/api/v1/models/iscx").json()
    assert card["card"]["tasks"] == models["iscx"]["tasks"]
    assert card["text"].startswith("# ")
    assert client.get("/api/v1/models/none").status_code == 404


def _rows(client: httpx.Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _file(client, job, "json").text.splitlines()]


def _file(client: httpx.Client, job: dict[str, Any], name: str) -> httpx.Response:
    answer = client.get(f"/api/v1/jobs/{job['id']}/verdicts", params={"format": name})
    assert answer.status_code == 200, answer.text
    return answer


def test_models_of_flow_features_classify_captures(
    client: httpx.Client, finish: Finish, capture: bytes
) -> None:
    job = finish(capture, model="cicids2017")
    expected = list(mtc.Classifier.load("cicids2017").classify(DEMO))
    rows = _rows(client, job)
    assert [row["attack"]["label"] for row in rows] == [row["attack"]["label"] for row in expected]
    assert client.get(f"/api/v1/jobs/{job['id']}/summary").json()["timeline"] is None
    assert client.get(f"/api/v1/jobs/{job['id']}/flows/1/packets").status_code == 422
    refused = client.post("/api/v1/jobs?model=cicids2017&per=packet", files={"capture": capture})
    assert refused.status_code == 422
