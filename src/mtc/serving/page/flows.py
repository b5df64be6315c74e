"""The flows of a job in a table that can be filtered; a flow opens its packets."""

from typing import Any

from nicegui import events, ui

from mtc.serving.http.jobs import Job
from mtc.serving.http.parts import Parts
from mtc.serving.http.work.results import find_flows
from mtc.serving.page import texts
from mtc.serving.page.frame import heading
from mtc.serving.page.packets import Packets
from mtc.serving.page.table import cells, head

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
