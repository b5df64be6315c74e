"""Events of a watch: delivered, kept, and passed on."""

import json
import threading
from typing import Any

import httpx
import pytest
from serve_running import event, lines

pytestmark = pytest.mark.slow


def test_events_are_kept_and_passed_on(client: httpx.Client, server: Any) -> None:
    heard: list[dict[str, Any]] = []
    listening = threading.Event()

    def listen() -> None:
        with (
            server.client() as other,
            other.stream("GET", "/api/v1/live/events", params={"replay": 1}) as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    heard.append(json.loads(line[6:]))
                    listening.set()
                if len(heard) == 3:
                    return

    assert client.post("/api/v1/live/events", content=lines(event(1), event(2))).json()["accepted"] == 2
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert listening.wait(100)
    client.post("/api/v1/live/events", content=lines(event(3), event(4)))
    listener.join(100)
    assert [found["flow_id"] for found in heard] == [2, 3, 4]
    assert client.get("/api/v1/live/recent", params={"limit": 2}).json() == [event(3), event(4)]


def test_what_is_no_event_is_refused_and_told(client: httpx.Client) -> None:
    wrong = {**event(9), "proto": "ICMP"}
    answer = client.post("/api/v1/live/events", content=lines(event(8), wrong) + b"no json\n")
    found = answer.json()
    assert (answer.status_code, found["accepted"], found["refused"]) == (200, 1, 2)
    assert "ICMP" in found["problem"]
    assert client.post("/api/v1/live/events", content=b"[" * 100_000).status_code == 413
    assert client.post("/api/v1/live/events", content=b"[" * 50_000 + b"\n").status_code == 422
    assert client.post("/api/v1/live/events", content=b"{}\n").status_code == 422


def test_addresses_are_pseudonyms_where_the_server_is_told_so(guarded: Any, token: str) -> None:
    with guarded.client(authorization=f"Bearer {token}") as client:
        client.post("/api/v1/live/events", content=lines(event(1)))
        found = client.get("/api/v1/live/recent").json()[-1]
        assert found["src_ip"] != "192.0.2.10"
        assert found["src_ip"].split(".")[:3] == found["dest_ip"].split(".")[:3]  # a prefix they share
        assert found["community_id"] != event(1)["community_id"]
