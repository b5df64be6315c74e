"""The pages, put onto the server's application."""

from fastapi import FastAPI
from nicegui import ui

from mtc.serving.http.parts import Parts
from mtc.serving.page import captures, live, models
from mtc.serving.page.job import job_page

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" '
    'fill="#0072b2"/><path d="M3 12V6M6.5 12V3M10 12V8M13 12V5" stroke="#fff" stroke-width="2"/></svg>'
)


def add_page(app: FastAPI, parts: Parts) -> None:
    """Put the pages onto the application; once in a process, as their library has only one site."""

    @ui.page("/")
    def show_captures() -> None:
        captures.build(parts)

    @ui.page("/jobs/{job_id}")
    def show_job(job_id: str) -> None:
        job_page(parts, job_id)

    @ui.page("/live")
    def show_live() -> None:
        live.build(parts)

    @ui.page("/models")
    def show_models() -> None:
        models.build(parts)

    ui.run_with(app, title="mtc", favicon=FAVICON, dark=None, language="en-US", show_welcome_message=False)
