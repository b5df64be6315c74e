"""The first page: captures are dropped here, and the jobs they became are listed."""

import json
from urllib.parse import urlencode

from nicegui import events, ui

from mtc.serving.http.jobs import Job, State
from mtc.serving.http.parts import Parts
from mtc.serving.http.shapes import JobView
from mtc.serving.page import texts
from mtc.serving.page.frame import frame, heading

REFRESH_S = 1.0

# The answer of our own upload route; the library's own has no limits and is switched off.
TELL_ANSWER = "(info) => emit(info.xhr.status, info.xhr.responseText)"


def build(parts: Parts) -> None:
    """Show the page."""
    with frame(parts, "Captures"):
        heading(1, "What is in your traffic?")
        Drop(parts)
        jobs = ui.element("section").classes("part").props('aria-label="Jobs"')
        listing = Listing(parts, jobs)
        listing.show()
        ui.timer(REFRESH_S, listing.show)


class Drop:
    """Where captures are dropped, with what is to be done with them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        limits = parts.settings.limits
        with ui.element("section").classes("part").props('aria-label="Upload"'):
            with ui.element("div").classes("row-of"):
                self._model = ui.select(list(parts.models), value=parts.settings.default_model, label="Model")
                self._model.props("dense outlined").style("min-width: 11rem")
                self._reject = ui.checkbox("Say unknown where the model is unsure", value=True)
                self._hide = ui.checkbox("Pseudonyms for addresses", value=parts.settings.pseudonymise)
                self._hide.set_enabled(not parts.settings.pseudonymise)
            label = f"Drop captures here, or press + (up to {texts.size(limits.upload_bytes)} each)"
            self._upload = ui.upload(multiple=True, auto_upload=True, label=label)
            self._upload.classes("drop").props('flat bordered field-name=capture data-testid="drop"')
            ui.label(
                "pcap, pcapng or snoop, also compressed or in a zip archive. Captures are read in a process "
                f"of their own and deleted after {limits.keep_s / 60:g} minutes."
            ).classes("faint")
        self._upload.on("uploaded", self._uploaded, js_handler=TELL_ANSWER)
        self._upload.on("failed", self._failed, js_handler=TELL_ANSWER)
        for choice in (self._model, self._reject, self._hide):
            choice.on_value_change(self._aim)
        self._aim()

    def _aim(self) -> None:
        query = {
            "model": self._model.value,
            "reject": str(bool(self._reject.value)).lower(),
            "pseudonymise": str(bool(self._hide.value)).lower(),
        }
        self._upload.props["url"] = f"/api/v1/jobs?{urlencode(query)}"
        self._upload.update()

    def _uploaded(self, event: events.GenericEventArguments) -> None:
        _, text = event.args
        job_id = json.loads(text)["id"]
        if all(job.ended or job.id == job_id for job in self._parts.jobs):
            ui.navigate.to(f"/jobs/{job_id}")

    def _failed(self, event: events.GenericEventArguments) -> None:
        status, text = event.args
        ui.notify(_reason(status, text), type="negative", multi_line=True, close_button="OK", timeout=0)


def _reason(status: int, text: str) -> str:
    try:
        return f"Refused: {json.loads(text)['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"The upload did not get through (status {status})"


class Listing:
    """The jobs that are there; drawn anew only when something changed."""

    def __init__(self, parts: Parts, place: ui.element) -> None:
        self._parts = parts
        self._place = place
        self._shown: list[str] | None = None

    def show(self) -> None:
        """Bring the list up to date."""
        views = [(job, JobView.of(job)) for job in self._parts.jobs]
        state = [view.model_dump_json() for _, view in views]
        if state == self._shown:
            return
        self._shown = state
        self._place.clear()
        with self._place:
            heading(2, "Jobs")
            if not views:
                ui.label("None yet.").classes("faint")
            for job, view in views:
                self._row(job, view)

    def _row(self, job: Job, view: JobView) -> None:
        with ui.element("div").classes("job"):
            names = ", ".join(capture.name for capture in view.captures) or "an upload"
            ui.link(names, f"/jobs/{view.id}")
            ui.label(texts.size(sum(capture.size for capture in view.captures))).classes("faint")
            if job.state in (State.done, State.failed):
                ui.label(f"{view.rows:,} flows" if job.state is State.done else "failed").classes("faint")
            else:
                ui.linear_progress(view.progress, show_value=False).props(f'aria-label="{view.state}"')
            ui.button(icon="delete", on_click=lambda: self._parts.jobs.delete(job)).props(
                f'flat round dense color=secondary aria-label="Delete {texts.html(names)}"'
            )
