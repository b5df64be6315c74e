"""The API keeps what its description says, whatever is sent: schemathesis makes the requests."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import mtc
from mtc.serving.http.app import describe

pytestmark = pytest.mark.slow

DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS = "/api/v1/live/events"
"""Its GET is a stream without end."""

schemathesis.serializer.alias("application/x-ndjson", "text/plain")

schema = schemathesis.openapi.from_dict(describe()).exclude(path=ENDLESS, method="GET")


@pytest.fixture(scope="module")
def job_id(server: Any) -> str:
    """A job that is there, so that not every question about one ends in 404."""
    with server.client() as client:
        job = client.post("/api/v1/jobs", content=DEMO.read_bytes()).json()
        with client.stream("GET", f"/api/v1/jobs/{job['id']}/progress") as answer:
            list(answer.iter_lines())
    return str(job["id"])


@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(case: schemathesis.Case, server: Any, job_id: str) -> None:
    if "job_id" in case.path_parameters and case.method != "DELETE" and len(case.query) % 2 == 0:
        case.path_parameters["job_id"] = job_id
    case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=60)


def test_the_description_has_examples(client: httpx.Client) -> None:
    found = client.get("/openapi.json").json()
    text = json.dumps(found)
    assert found["info"]["title"] == "mtc"
    assert '"example"' in text
    assert '"examples"' in text
    assert {"/api/v1/jobs", "/api/v1/live/events", "/metrics", "/health"} <= set(found["paths"])
    assert client.get("/docs").status_code == 404  # its page would load scripts from elsewhere
