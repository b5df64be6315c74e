"""The packets of a flow; a packet opens its reason."""

from typing import Any

from nicegui import events, ui

from mtc.serving.http.api_error import ApiError
from mtc.serving.http.jobs import Job
from mtc.serving.http.parts import Parts
from mtc.serving.page import texts
from mtc.serving.page.reason import Reason
from mtc.serving.page.table import cells, head

AT_ONCE = 100
NAMES = ("after", "way", "bytes")


class Packets:
    """The packets of one flow at a time."""

    def __init__(self, parts: Parts, job: Job, tasks: dict[str, list[str]]) -> None:
        self._parts = parts
        self._job = job
        self._tasks = [task for task in tasks if task != "vpn"]
        self._flow = 0
        self._capture = ""
        self._first = 0.0
        with ui.element("section").classes("part").props('aria-label="Packets" tabindex="-1"') as self._place:
            self._title = ui.element("h2")
            self._table = ui.table(
                columns=head(("packet", *NAMES), self._tasks),
                rows=[],
                row_key="packet",
                pagination={"rowsPerPage": 10},
            )
            self._table.classes("stack").props("flat dense").style("width: 100%")
            self._table.add_slot("body", cells("packet", NAMES, self._tasks))
            self._table.on("open", self._open)
            self._more = ui.button("More packets", on_click=self._load).props("flat no-caps")
        self._place.visible = False
        self._reason = Reason(parts, job, self._tasks)

    async def open(self, flow: int) -> None:
        """Show the packets of a flow."""
        self._flow = flow
        self._table.rows = []
        self._reason.hide()
        self._place.visible = True
        with self._title:
            self._title.clear()
            ui.label(f"Packets of flow {flow}")
        await self._load()
        ui.run_javascript(
            f"const e = getHtmlElement({self._place.id}); e.scrollIntoView({{block: 'nearest'}}); e.focus()"
        )

    async def _load(self) -> None:
        try:
            found = await self._parts.jobs.packets(self._job, self._flow, len(self._table.rows), AT_ONCE)
        except ApiError as error:
            ui.notify(error.detail, type="negative")
            return
        self._capture = found["capture"]
        packets = found["packets"]
        if packets and not self._table.rows:
            self._first = packets[0]["time"]
        self._table.rows = self._table.rows + [self._row(packet) for packet in packets]
        self._more.visible = found["more"]

    def _row(self, packet: dict[str, Any]) -> dict[str, Any]:
        row = {
            "packet": packet["packet"],
            "after": f"{packet['time'] - self._first:.6f} s",
            "way": "→ to server" if packet["forward"] else "← to client",
            "bytes": packet["bytes"],
            "closed": packet["left_out"] is not None,
        }
        left_out = {"label": (packet["left_out"] or "").replace("_", " "), "share": 0, "sure": ""}
        verdicts = {task: texts.verdict(packet[task]) for task in self._tasks}
        return row | (verdicts if packet["left_out"] is None else dict.fromkeys(self._tasks, left_out))

    async def _open(self, event: events.GenericEventArguments) -> None:
        await self._reason.open(self._capture, int(event.args))
