"""The page of one job: how far it is, and then what it found."""

from nicegui import ui

from mtc.serving.http.api_error import ApiError
from mtc.serving.http.jobs import Job, State
from mtc.serving.http.parts import Parts
from mtc.serving.http.shapes import JobView
from mtc.serving.page import texts
from mtc.serving.page.flows import Flows
from mtc.serving.page.frame import frame, heading
from mtc.serving.page.overview import Overview

REFRESH_S = 0.3


def job_page(parts: Parts, job_id: str) -> None:
    """Show the page."""
    with frame(parts, "Captures"):
        try:
            job = parts.jobs.find(job_id)
        except ApiError as error:
            ui.label(error.detail).classes("problem")
            return
        names = ", ".join(upload.name for upload in job.uploads) or "an upload"
        ui.page_title(f"{names} - mtc")
        heading(1, names)
        place = ui.element("div").classes("flow-of")
        Progress(parts, job, place)


class Progress:
    """How far a job is; at its end the results take its place."""

    def __init__(self, parts: Parts, job: Job, place: ui.element) -> None:
        self._parts = parts
        self._job = job
        self._place = place
        if job.ended:
            self._end()
            return
        with place, ui.element("section").classes("part").props('aria-live="polite"'):
            self._state = ui.label()
            self._bar = ui.linear_progress(0, show_value=False).props(
                'aria-label="Progress" instant-feedback'
            )
        self._timer = ui.timer(REFRESH_S, self._show)
        self._show()

    def _show(self) -> None:
        view = JobView.of(self._job)
        self._state.text = {
            State.receiving: "The capture is coming in",
            State.waiting: "Waiting for other jobs",
            State.running: f"Reading: {100 * view.progress:.0f} %",
        }.get(self._job.state, view.state)
        self._bar.value = view.progress
        if self._job.ended:
            self._timer.cancel()
            self._place.clear()
            self._end()

    def _end(self) -> None:
        with self._place:
            if self._job.state is State.failed:
                ui.label(f"This job failed: {self._job.error}").classes("problem").props('role="alert"')
                return
            show_results(self._parts, self._job)


def show_results(parts: Parts, job: Job) -> None:
    """Numbers, charts and flows of a job that is done."""
    summary = job.summary or {}
    for problem in summary.get("problems", []):
        ui.label(problem).classes("problem")
    if job.per != "flow":
        ui.label("This job has verdicts on packets; they are in its files.")
        _downloads(job)
        return
    overview = Overview(summary)
    _downloads(job)
    flows = Flows(parts, job, summary)
    overview.on_task(flows.show_task)


def _downloads(job: Job) -> None:
    with ui.element("div").classes("row-of"):
        ui.label("All verdicts:").classes("faint")
        for name, shown in (("json", "JSON lines"), ("csv", "CSV"), ("parquet", "Parquet")):
            ui.link(shown, f"/api/v1/jobs/{job.id}/verdicts?format={name}").props("download")
        if job.expires is not None:
            ui.label(f"kept until {texts.clock(job.expires)} UTC").classes("faint")
