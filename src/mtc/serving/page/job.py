"""The page of one job: how far it is, and then what it found."""

from collections.abc import Callable
from typing import Any

from nicegui import events, ui

from mtc.columns import UNKNOWN
from mtc.serving.http.api_error import ApiError
from mtc.serving.http.jobs import Job, State
from mtc.serving.http.parts import Parts
from mtc.serving.http.shapes import JobView
from mtc.serving.http.work.results import find_flows
from mtc.serving.page import charts, texts
from mtc.serving.page.frame import cells, frame, head, heading
from mtc.serving.page.packets import Packets

SHOWN = 500
"""Most flows that the browser gets at a time; the filter looks at all."""

ANY = "any"


class Flows:
    """A filter, a table, and the packets of the flow that was opened."""

    def __init__(self, parts: Parts, job: Job, summary: dict[str, Any]) -> None:
        self._job = job
        self._tasks: dict[str, list[str]] = summary["tasks"]
        self._labels: dict[str, dict[str, int]] = summary["labels"]
        self._task = next(iter(self._tasks))
        with ui.element("section").classes("part").props('aria-label="Flows"'):
            heading(2, "Flows")
            self._filter()
            self._count = ui.label().classes("faint").props('aria-live="polite" data-testid="count"')
            self._table = ui.table(
                columns=head(("flow", "from", "to", "packets", "bytes"), self._tasks),
                rows=[],
                row_key="flow",
                pagination={"rowsPerPage": 15},
            )
            self._table.classes("stack").props("flat dense").style("width: 100%")
            self._table.add_slot("body", cells("flow", ("from", "to", "packets", "bytes"), self._tasks))
            self._table.on("open", self._open)
        self._packets = Packets(parts, job, self._tasks)
        ui.timer(0, self._find, once=True)

    def _filter(self) -> None:
        with ui.element("div").classes("row-of").props('role="search"'):
            self._text = ui.input("Address, port or label", on_change=self._find)
            self._text.props('dense outlined clearable debounce=250 data-testid="filter"')
            self._label = ui.select(self._choices(), value=ANY, label="Label", on_change=self._find)
            self._label.props("dense outlined").style("min-width: 11rem")
            self._least = ui.number("Least confidence", value=0, min=0, max=1, step=0.05)
            self._least.props("dense outlined debounce=250").style("width: 9rem")
            self._least.on_value_change(self._find)

    def show_task(self, task: str) -> None:
        """Let the filter be about this task."""
        self._task = task
        self._label.set_options(self._choices(), value=ANY)

    def _choices(self) -> dict[str, str]:
        counts = self._labels[self._task]
        return {ANY: f"any {self._task}", **{label: f"{label} ({n:,})" for label, n in counts.items()}}

    async def _find(self) -> None:
        found = await find_flows(
            self._job.folder,
            self._tasks,
            text=(self._text.value or "").strip(),
            task=self._task,
            label=None if self._label.value in (ANY, None) else self._label.value,
            least_confidence=float(self._least.value or 0),
            limit=SHOWN,
        )
        total = found["total"]
        shown = "" if total <= SHOWN else f"; the first {SHOWN:,} are shown"
        self._count.text = f"{total:,} {'flow' if total == 1 else 'flows'}{shown}"
        self._table.rows = [self._row(flow) for flow in found["flows"]]

    def _row(self, flow: dict[str, Any]) -> dict[str, Any]:
        row = {
            "flow": flow["flow"],
            "from": texts.endpoint(flow["src"], flow["src_port"]),
            "to": f"{texts.endpoint(flow['dst'], flow['dst_port'])} {flow['protocol']}",
            "packets": flow["packets"],
            "bytes": flow["bytes"],
        }
        return row | {task: texts.verdict(flow[task]) for task in self._tasks}

    async def _open(self, event: events.GenericEventArguments) -> None:
        await self._packets.open(int(event.args))


class Overview:
    """Numbers and charts about one task at a time."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self._summary = summary
        self._tasks = list(summary["tasks"])
        self._listeners: list[Callable[[str], None]] = []
        self._choice = ui.toggle(self._tasks, value=self._tasks[0], on_change=self._change)
        self._choice.props(
            'no-caps unelevated aria-label="Task" toggle-color=primary color=secondary outline'
        )
        self._numbers = ui.element("div").classes("numbers")
        with ui.element("div").classes("two"):
            with ui.element("section").classes("part").props('aria-label="Traffic by class over time"'):
                heading(2, "Traffic by class over time")
                self._time = ui.echart({}).style("height: 20rem").props('data-testid="timeline"')
            with ui.element("section").classes("part").props('aria-label="Shares"'):
                heading(2, "Shares of bytes")
                self._shares = ui.element("div").classes("shares")
                heading(2, "Confidence")
                self._confidence = ui.echart({}).style("height: 9rem")
        self._show()

    def on_task(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the task that is chosen."""
        self._listeners.append(listener)

    def _change(self) -> None:
        self._show()
        for listener in self._listeners:
            listener(self._choice.value)

    def _show(self) -> None:
        task = self._choice.value
        self._show_numbers(task)
        self._show_shares(task)
        timeline = self._summary["timeline"]
        rows = {} if timeline is None else timeline["bytes"].get(task, {})
        start, step = (timeline["start"], timeline["step"]) if timeline else (0, 1)
        self._time.options.clear()
        self._time.options.update(charts.over_time(start, step, rows))
        self._confidence.options.clear()
        self._confidence.options.update(charts.histogram(self._summary["confidence"][task]))
        self._time.update()
        self._confidence.update()

    def _show_numbers(self, task: str) -> None:
        summary = self._summary
        flows, sizes = summary["labels"][task], summary["bytes"][task]
        unknown = flows.get(UNKNOWN, 0)
        numbers = (
            ("flows", f"{summary['rows']:,}"),
            ("packets", f"{sum(capture['packets'] for capture in summary['captures']):,}"),
            ("bytes in flows", texts.size(sum(sizes.values()))),
            ("of flows unknown", texts.share(unknown, summary["rows"])),
            ("of bytes unknown", texts.share(sizes.get(UNKNOWN, 0), sum(sizes.values()))),
        )
        self._numbers.clear()
        with self._numbers:
            for what, value in numbers:
                with ui.element("div").classes("number"):
                    ui.html(f"<b>{texts.html(value)}</b>", sanitize=False)
                    ui.label(what).classes("faint")

    def _show_shares(self, task: str) -> None:
        sizes, flows = self._summary["bytes"][task], self._summary["labels"][task]
        whole = sum(sizes.values())
        shown = charts.shown_labels(sizes)
        rows = [(label, sizes[label], flows[label]) for label in shown]
        rest = [label for label in sizes if label not in shown]
        if rest:
            rows.append(("others", sum(sizes[n] for n in rest), sum(flows[n] for n in rest)))
        self._shares.clear()
        with self._shares:
            colours = charts.colours_of(label for label, _, _ in rows)
            for label, size, count in rows:
                colour = colours[label]
                width = 100 * size / whole if whole else 0
                ui.label(label)
                bar = f'<span style="width:{width:.1f}%;background:{colour.light}"></span>'
                ui.html(f'<div class="line">{bar}</div>', sanitize=False)
                ui.label(f"{texts.share(size, whole)}, {count:,} flows").classes("faint")


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
