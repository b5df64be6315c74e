"""The packets of a flow; a packet opens its reason."""

from typing import Any

from nicegui import events, ui

from mtc import palette
from mtc.serving.http.api_error import ApiError
from mtc.serving.http.jobs import Job
from mtc.serving.http.parts import Parts
from mtc.serving.page import texts
from mtc.serving.page.frame import cells, head
from mtc.serving.page.texts import html

SHOWN_FIELDS = 12
BYTES_A_LINE = 16
FAINTEST = 0.05
"""Share of the strongest byte below which a byte has no colour."""


class Reason:
    """The reason of one packet at a time."""

    def __init__(self, parts: Parts, job: Job, tasks: list[str]) -> None:
        self._parts = parts
        self._job = job
        self._asked = ("", 0)
        with ui.element("section").classes("part").props('aria-label="Reason" tabindex="-1"') as self._place:
            self._title = ui.label().props('role="heading" aria-level="2"').style("font-weight: 650")
            self._task = ui.toggle(tasks, value=tasks[0], on_change=self._load)
            self._task.props('no-caps unelevated aria-label="Task of the reason" outline')
            self._busy = ui.spinner().props('aria-label="Working"')
            with ui.element("div").classes("two"):
                self._hex = ui.html("", sanitize=False)
                self._fields = ui.html("", sanitize=False)
            ui.html(
                '<div class="legend"><span><i class="for-it"></i>speaks for the class</span>'
                '<span><i class="against-it"></i><u>speaks against it</u></span>'
                "<span>the stronger the colour, the more; numbers are parts of its logit</span></div>",
                sanitize=False,
            )
        self.hide()

    def hide(self) -> None:
        """Show nothing."""
        self._place.visible = False

    async def open(self, capture: str, packet: int) -> None:
        """Show the reason of a packet."""
        self._asked = capture, packet
        self._place.visible = True
        await self._load()
        ui.run_javascript(
            f"const e = getHtmlElement({self._place.id}); e.scrollIntoView({{block: 'nearest'}}); e.focus()"
        )

    async def _load(self) -> None:
        capture, packet = self._asked
        self._title.text = f"Packet {packet}"
        self._busy.visible = True
        self._hex.content = self._fields.content = ""
        try:
            found = await self._parts.jobs.explain(self._job, packet, capture, self._task.value, None)
        except ApiError as error:
            self._title.text = f"Packet {packet}: {error.detail}"
            return
        finally:
            self._busy.visible = False
        self._title.text = f"Packet {packet}: {found['label']}, confidence {found['confidence']:.3f}"
        self._hex.content = hex_view(found)
        self._fields.content = field_view(found)


def field_view(found: dict[str, Any]) -> str:
    """The fields and numbers that did most, as bars to both sides."""
    every = {**found["fields"], **{f"number {name}": value for name, value in found["numbers"].items()}}
    strongest = sorted(every, key=lambda name: -abs(every[name]))[:SHOWN_FIELDS]
    most = max((abs(every[name]) for name in strongest), default=0) or 1
    rows = []
    for name in strongest:
        value, width = every[name], 100 * abs(every[name]) / most
        bar = f'<span class="{"for" if value > 0 else "against"}-it" style="width:{width:.1f}%"></span>'
        sides = ("", bar) if value > 0 else (bar, "")
        rows.append(
            f'<span>{html(name)}</span><span class="line"><span class="against">{sides[0]}</span>'
            f"<span>{sides[1]}</span></span><span>{value:+.3f}</span>"
        )
    return f'<div class="fields" data-testid="fields">{"".join(rows)}</div>'


def hex_view(found: dict[str, Any]) -> str:
    """The bytes, coloured by what they did; those that are held back are dots."""
    values, data, names = found["bytes"], found["data"], found["names"]
    strongest = max((abs(value) for value in values), default=0) or 1
    lines = []
    for start in range(0, len(data), BYTES_A_LINE):
        spans = [
            _byte(data[place], values[place], names[place], abs(values[place]) / strongest)
            for place in range(start, min(start + BYTES_A_LINE, len(data)))
        ]
        lines.append(f'<div><span class="at">{start:04x}</span>{"".join(spans)}</div>')
    named = 'tabindex="0" aria-label="Bytes of the packet" data-testid="hex"'
    return f'<div class="hex" {named}>{"".join(lines)}</div>'


def _byte(value: int | None, did: float, name: str, strength: float) -> str:
    text = "··" if value is None else f"{value:02x}"
    title = f"{html(name)}: {did:+.4f}"
    if strength < FAINTEST:
        return f'<span class="b" title="{title}">{text}</span>'
    colour = palette.BLUE if did > 0 else palette.ORANGE
    ground = f"color-mix(in srgb, var(--{colour.name}) {20 + 65 * strength:.0f}%, transparent)"
    kind = "b" if did > 0 else "b minus"
    return f'<span class="{kind}" style="background:{ground}" title="{title}">{text}</span>'


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
