"""The API's part on running watches: their events in, and out to those who watch."""

import asyncio
import json
from collections.abc import AsyncIterator
from importlib import resources
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from mtc.serving.http.api_error import ApiError
from mtc.serving.http.live import MOST_LINE, LiveFeed
from mtc.serving.http.parts import Metrics
from mtc.serving.http.settings import Limits
from mtc.serving.http.shapes import SERVER_SENT, Delivered, Problem
from mtc.serving.http.uploads import read_body

SILENCE_S = 15
LINES_AT_ONCE = 50
"""Lines that are looked at before others get their turn."""

REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 403, 408, 413, 422)
}
EXAMPLE = '{"timestamp": "2026-11-23T16:00:00.000000+00:00", "event_type": "stats", "schema_version": 1}\n'
BODY = {
    "requestBody": {
        "required": True,
        "description": "JSON lines, an event each, as `mtc watch` writes them.",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": EXAMPLE}},
    }
}


def event_problem() -> Any:
    """A function that says what is wrong with an event by the published schema, or None."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = json.loads(resources.files("mtc.serving").joinpath("event.schema.json").read_text("utf-8"))
    kinds = {
        name: Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]})
        for name in (kind["$ref"].rsplit("/", 1)[-1] for kind in schema["oneOf"])
    }

    def problem_of(event: Any) -> str | None:
        kind = event.get("event_type") if isinstance(event, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            return f"no event: its event_type is none of {', '.join(kinds)}"
        if kinds[kind].is_valid(event):
            return None
        error = best_match(kinds[kind].iter_errors(event))
        return "no event" if error is None else f"no event: {error.message[:200]}"

    return problem_of


def make_router(feed: LiveFeed, limits: Limits, metrics: Metrics) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1/live", tags=["live"])

    @router.post("/events", responses=REFUSALS, openapi_extra=BODY)
    async def deliver(request: Request) -> Delivered:
        """Take events of a watch (`mtc watch --sink` posts here); lines that are no events are refused."""
        accepted = refused = 0
        problem = None
        async for line in _lines(request, limits):
            found = feed.add_line(line)
            accepted, refused = accepted + (found is None), refused + (found is not None)
            problem = problem or found
            if (accepted + refused) % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
        metrics.live_events.labels("accepted").inc(accepted)
        metrics.live_events.labels("refused").inc(refused)
        await feed.wake()
        if not accepted:
            reason = f"no line is an event: {problem}" if refused else "no event in this delivery"
            raise ApiError(422, reason, "events")
        return Delivered(accepted=accepted, refused=refused, problem=problem)

    @router.get("/recent", responses={code: {"model": Problem} for code in (401, 403, 422)})
    async def recent(limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> list[dict[str, Any]]:
        """The last events, oldest first."""
        return feed.since(max(0, feed.last - limit))

    @router.get(
        "/events",
        response_class=StreamingResponse,
        responses={
            **{code: {"model": Problem} for code in (401, 403, 422)},
            200: {"content": SERVER_SENT},
        },
    )
    async def listen(
        replay: Annotated[int, Query(ge=0, le=10_000, description="Kept events to begin with.")] = 0,
    ) -> StreamingResponse:
        """Events as they come, as server-sent events, without end."""

        async def lines() -> AsyncIterator[str]:
            async for events in feed.listen(replay, SILENCE_S):
                yield "".join(f"data: {json.dumps(event)}\n\n" for event in events) or ": nothing new\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return router


async def _lines(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body line by line, without empty lines."""
    held = b""
    received = 0
    async for chunk in read_body(request, limits):
        received += len(chunk)
        if received > limits.live_bytes:
            raise ApiError(413, f"a delivery may have {limits.live_bytes:,} bytes", "size")
        *whole, held = (held + chunk).split(b"\n")
        if len(held) > MOST_LINE:
            raise ApiError(413, f"an event has at most {MOST_LINE:,} bytes", "size")
        for line in whole:
            if line.strip():
                yield line
    if held.strip():
        yield held
