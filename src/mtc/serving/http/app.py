"""The server as an ASGI application."""

import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from mtc import __version__
from mtc.errors import UsageError
from mtc.serving.http import routes_jobs, routes_live, routes_server
from mtc.serving.http.api_error import ApiError
from mtc.serving.http.auth import Authenticator
from mtc.serving.http.connections import HEADER_BYTES, LimitedProtocol, LimitedServer
from mtc.serving.http.guard import Guard
from mtc.serving.http.jobs import Job, Jobs, State
from mtc.serving.http.live import LiveFeed
from mtc.serving.http.models import ModelRegistry
from mtc.serving.http.parts import Metrics, Parts
from mtc.serving.http.settings import ServeSettings
from mtc.serving.http.storage import Storage
from mtc.serving.http.work.sandbox import hide_from_others, missing_walls
from mtc.serving.http.workers import Workers
from mtc.serving.pseudonyms import KEY_BYTES, Pseudonyms

QUESTIONS = 1
"""Questions about captures that are answered at a time, beside the jobs."""

ABOUT = """Upload a capture, and get for every flow which application it belongs to, which type of traffic
it is, and how sure that is. A job holds the captures of an upload and its verdicts until it expires."""


def make_app(settings: ServeSettings) -> ASGIApp:
    """The whole server: API, page, and the guard before both.

    Raises:
        MtcError: A model is not there.
    """
    parts = _make_parts(settings)
    app = _make_api(parts)
    if settings.page:
        from mtc.serving.page import add_page  # slow to import

        add_page(app, parts)
    return Guard(app, settings, parts.authenticator, lambda reason: _count_refusal(parts.metrics, reason))


def describe(settings: ServeSettings | None = None) -> dict[str, Any]:
    """The description of the API (OpenAPI), without a server."""
    parts = _make_parts(settings or ServeSettings(), serving=False)
    try:
        return _make_api(parts).openapi()
    finally:
        parts.jobs.storage.close()


def _make_parts(settings: ServeSettings, *, serving: bool = True) -> Parts:
    limits = settings.limits
    models = ModelRegistry(settings.models)
    try:
        models.card(settings.default_model)
    except ApiError as error:
        raise UsageError(f"the default model: {error}") from None
    workers = Workers(limits.running + QUESTIONS)
    key = settings.pseudonym_key or secrets.token_bytes(KEY_BYTES)
    jobs = Jobs(settings, Storage(limits.kept_bytes), workers, models, key)
    metrics = Metrics()
    _show(metrics, jobs)
    rename = Pseudonyms(key) if settings.pseudonymise else None
    feed = LiveFeed(limits.live_events, routes_live.event_problem(), rename)
    if serving:
        workers.warm_up()
    return Parts(settings, jobs, models, feed, metrics, Authenticator(settings.token))


def _make_api(parts: Parts) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts.jobs.start()
        yield
        await parts.jobs.stop()

    app = FastAPI(
        title="mtc",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )

    @app.exception_handler(ApiError)
    async def refuse(request: Request, error: ApiError) -> JSONResponse:
        _count_refusal(parts.metrics, error.reason)
        # What is left of an upload is not waited for.
        headers = {"connection": "close"} if error.status in (408, 413, 507) else {}
        return JSONResponse({"detail": error.detail}, status_code=error.status, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError) -> JSONResponse:
        _count_refusal(parts.metrics, "request")
        first = error.errors()[0]
        where = ".".join(str(place) for place in first["loc"][1:])
        return JSONResponse({"detail": f"{where}: {first['msg']}"}, status_code=422)

    limits = parts.settings.limits
    app.include_router(routes_jobs.make_router(parts.jobs, limits, parts.metrics))
    app.include_router(routes_live.make_router(parts.feed, limits, parts.metrics))
    secure = parts.settings.tls is not None
    app.include_router(
        routes_server.make_router(parts.jobs, parts.models, parts.metrics, parts.authenticator, secure=secure)
    )
    if parts.authenticator.asks:
        _ask_for_token(app)
    return app


def _ask_for_token(app: FastAPI) -> None:
    """Say in the description of the API that it takes a token."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        found = describe()
        found.setdefault("components", {})["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"}
        }
        found["security"] = [{"token": []}]
        return found

    app.openapi = openapi  # type: ignore[method-assign]


def _show(metrics: Metrics, jobs: Jobs) -> None:
    def ended(job: Job) -> None:
        metrics.jobs.labels(job.state.value).inc()
        metrics.job_seconds.observe(job.seconds or 0)
        if job.summary is not None:
            metrics.rows.inc(job.summary["rows"])
            metrics.packets.inc(sum(capture["packets"] for capture in job.summary["captures"]))

    jobs.on_end = ended
    metrics.show("stored_bytes", "Bytes of uploads and results on disk.", lambda: jobs.storage.used)
    for state in (State.receiving, State.waiting, State.running):
        metrics.show(f"jobs_{state}", f"Jobs that are {state}.", partial(jobs.count, state))


def _count_refusal(metrics: Metrics, reason: str) -> None:
    metrics.refused.labels(reason).inc()


STOP_S = 5
"""Seconds that open connections get at the end."""

WEBSOCKET_BYTES = 1 << 20
"""Bytes of one message of the web page."""


def run(settings: ServeSettings, say: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        settings: See ``ServeSettings``.
        say: Called with lines for the operator of the server.

    Raises:
        UsageError: The address cannot be bound, or there is no certificate with its key.
    """
    if settings.tls is not None:
        _check_tls(*settings.tls)
    with _bound(settings.host, settings.port) as listening:
        port = listening.getsockname()[1]
        app = make_app(settings)
        cert, key = settings.tls or (None, None)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=STOP_S,
            http=LimitedProtocol,
            h11_max_incomplete_event_size=HEADER_BYTES,
            loop="asyncio",
            ws_max_size=WEBSOCKET_BYTES,
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        scheme = "http" if settings.tls is None else "https"
        if missing := missing_walls():
            say(f"the kernel lacks {', '.join(missing)}: jobs run without")
        hide_from_others()
        say(f"serving on {scheme}://{host}:{port} (Ctrl-C stops)")
        LimitedProtocol.limits = settings.limits
        LimitedServer(config).run(sockets=[listening])


def _check_tls(cert: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except OSError as error:
        raise UsageError(
            f"{cert}, {key}: not a certificate and its key ({error.strerror or error})"
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UsageError(f"{host} port {port} cannot be bound: {error.strerror or error}") from None
    return listening
