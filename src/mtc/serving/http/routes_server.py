"""The API's part on the server itself: models, health, numbers, and the way in."""

from html import escape
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST

from mtc import __version__
from mtc.serving.http.auth import COOKIE, SESSION_S, Authenticator, cookie
from mtc.serving.http.jobs import Jobs, State
from mtc.serving.http.models import ModelRegistry
from mtc.serving.http.parts import Metrics
from mtc.serving.http.shapes import CardView, Health, ModelView, Problem

MOST_FORM = 4096
REFUSALS: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (401, 403, 404, 422)}

LOGIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mtc: sign in</title>
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
main {{ max-width: 22rem; margin: 15vh auto; padding: 0 1rem }}
input, button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; margin-top: .5rem }}
</style></head><body><main><h1>mtc</h1><form method="post" action="/login?next={next}">
<label for="token">Token of this server</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button></form><p role="alert">{problem}</p></main></body></html>"""


def make_router(
    jobs: Jobs, registry: ModelRegistry, metrics: Metrics, authenticator: Authenticator, *, secure: bool
) -> APIRouter:
    """The routes; cookies are for TLS only where ``secure`` is set."""
    router = APIRouter()

    @router.get("/health", tags=["server"], responses={403: {"model": Problem}})
    async def health() -> Health:
        """Whether the server works; needs no token."""
        return Health(
            status="ok",
            version=__version__,
            jobs_running=jobs.count(State.running),
            jobs_waiting=jobs.count(State.waiting),
        )

    @router.get(
        "/metrics",
        tags=["server"],
        response_class=PlainTextResponse,
        responses={401: {"model": Problem}, 403: {"model": Problem}},
    )
    async def scrape() -> Response:
        """Numbers for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @router.get(
        "/api/v1/models", tags=["models"], responses={401: {"model": Problem}, 403: {"model": Problem}}
    )
    async def models() -> list[ModelView]:
        """The models: tasks, classes, data, scores on their own test parts."""
        return [ModelView(**registry.brief(name)) for name in registry]

    @router.get("/api/v1/models/{name}", tags=["models"], responses=REFUSALS)
    async def model(name: Annotated[str, Path(max_length=100, examples=["iscx"])]) -> CardView:
        """A model with its card."""
        return CardView(**registry.brief(name), text=registry.text(name), card=registry.card(name))

    if authenticator.asks:
        _add_login(router, authenticator, secure)
    return router


def _add_login(router: APIRouter, authenticator: Authenticator, secure: bool) -> None:
    @router.get("/login", include_in_schema=False)
    async def form(where: Annotated[str, Query(alias="next", max_length=500)] = "/") -> HTMLResponse:
        return HTMLResponse(LOGIN.format(next=escape(_local(where), quote=True), problem=""))

    @router.post("/login", include_in_schema=False)
    async def login(
        request: Request, where: Annotated[str, Query(alias="next", max_length=500)] = "/"
    ) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_FORM:
                return PlainTextResponse("too long", status_code=413)
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        if not authenticator.is_token(given.strip()):
            page = LOGIN.format(next=escape(_local(where), quote=True), problem="This is not the token.")
            return HTMLResponse(page, status_code=401)
        answer = RedirectResponse(_local(where), status_code=303)
        answer.set_cookie(
            COOKIE,
            authenticator.open_session(),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
        return answer

    @router.post("/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        authenticator.close_session(cookie(request.headers.get("cookie", "")) or "")
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer


def _local(where: str) -> str:
    """A path of this server, whatever was asked for."""
    return where if where.startswith("/") and not where.startswith(("//", "/\\")) else "/"
