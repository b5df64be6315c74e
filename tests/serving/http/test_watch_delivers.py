"""``mtc watch`` of a replayed capture beside servers that take its events: all of them arrive."""

import json
from pathlib import Path
from typing import Any

import pytest
from serve_running import DEMO
from waiting import PATIENCE_S

from mtc.cli import main

pytestmark = pytest.mark.slow

EVENTS = "/api/v1/live/events"
HIDDEN = ("src_ip", "dest_ip", "community_id")


@pytest.fixture(scope="module")
def watched(
    server: Any, guarded: Any, token: str, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """All events of a watch, as it wrote them to a file beside two servers, one of them with a token."""
    folder = tmp_path_factory.mktemp("watch")
    sinks = [f"file:{folder / 'events'}", f"{server.url}{EVENTS}", f"{guarded.url}{EVENTS}"]
    options = [option for sink in sinks for option in ("--sink", sink)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTC_SINK_TOKEN", token)
        patch.setattr("sys.argv", ["mtc", "watch", str(DEMO), *options, "--spool", str(folder / "spool")])
        patch.setattr("mtc.cli.watch.command.FINISH_S", PATIENCE_S)
        patch.setattr("mtc.serving.sinks.http.TIMEOUT_S", PATIENCE_S)  # what is sent again would come twice
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    assert not list(Path(folder / "spool").glob("*/*.jsonl"))
    return [json.loads(line) for line in (folder / "events").read_text().splitlines()]


def test_the_api_has_all_events_of_a_watch(watched: list[dict[str, Any]], client: Any) -> None:
    assert sum(event.get("state") == "end" for event in watched) == 19
    assert watched[-1]["event_type"] == "stats"
    assert client.get("/api/v1/live/recent", params={"limit": len(watched)}).json() == watched
    with client.stream("GET", EVENTS, params={"replay": len(watched)}) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        assert [json.loads(next(lines)[6:]) for _ in watched] == watched


def test_a_server_with_a_token_has_them_under_pseudonyms(
    watched: list[dict[str, Any]], guarded: Any, token: str
) -> None:
    with guarded.client(authorization=f"Bearer {token}") as client:
        found = client.get("/api/v1/live/recent", params={"limit": len(watched)}).json()
    assert [_plain(event) for event in found] == [_plain(event) for event in watched]
    assert {event.get("src_ip") for event in found} & {event.get("src_ip") for event in watched} == {None}


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in HIDDEN}
