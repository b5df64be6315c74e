"""A running watch as it happens: its flows, traffic by class, and what was lost on the way."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nicegui import ui

from mtc.serving.http.parts import Parts
from mtc.serving.page import charts, texts
from mtc.serving.page.frame import cells, frame, head, heading

REFRESH_S = 1.0
REPLAYED = 2000
SHOWN = 100
KEPT_FLOWS = 5000
STEP_S = 5
STEPS = 60
NAMES = ("from", "to", "packets", "bytes", "state")


def build(parts: Parts) -> None:
    """Show the page."""
    with frame(parts, "Live"):
        heading(1, "Live traffic")
        Live(parts)


class LiveFlows:
    """What the events say: the latest state of each flow, and bytes by class over time."""

    def __init__(self) -> None:
        self.flows: OrderedDict[tuple[str, str, int], dict[str, Any]] = OrderedDict()
        self.tasks: list[str] = []
        self.stats: dict[tuple[str, str], dict[str, Any]] = {}
        self._bytes: dict[str, deque[tuple[float, str, int]]] = defaultdict(lambda: deque(maxlen=KEPT_FLOWS))

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event."""
        watch = (str(event["host"]), str(event.get("in_iface", "")))
        if event["event_type"] == "stats":
            self.stats[watch] = dict(event)
            return
        key = (*watch, int(event["flow_id"]))
        before = self.flows.pop(key, None)
        self.flows[key] = dict(event)
        while len(self.flows) > KEPT_FLOWS:
            self.flows.popitem(last=False)
        grown = _size(event) - (_size(before) if before else 0)
        at = datetime.fromisoformat(event["flow"]["end"]).timestamp()
        for task, found in judged(event).items():
            if task not in self.tasks:
                self.tasks.append(task)
            self._bytes[task].append((at, found["label"] if found else "no sample", grown))

    def over_time(self, task: str) -> tuple[float, dict[str, list[float]]]:
        """Begin of the last stretches of time, and bytes by class in each.

        Bytes are counted when an event reports them, at the time of the flow's latest packet.
        """
        counted = self._bytes[task]
        last = max((at for at, _, _ in counted), default=0.0)
        start = (last // STEP_S - STEPS + 1) * STEP_S
        rows: dict[str, list[float]] = {}
        for at, label, size in counted:
            place = int((at - start) // STEP_S)
            if 0 <= place < STEPS:
                rows.setdefault(label, [0.0] * STEPS)[place] += size
        return start, rows


def judged(event: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Task -> verdict of an event of a flow, ``vpn`` among them where there is one."""
    vpn = {"vpn": event["vpn"]} if event.get("vpn") else {}
    return {**event["tasks"], **vpn}


class Live:
    """The page's parts, brought up to date each second."""

    def __init__(self, parts: Parts) -> None:
        self._feed = parts.feed
        self._seen = max(0, parts.feed.last - REPLAYED)
        self._known = LiveFlows()
        self._hint = ui.label(
            "No watch posts here yet. Start one with: mtc watch INTERFACE --sink "
            f"{_address()}api/v1/live/events"
        ).classes("problem")
        self._numbers = ui.element("div").classes("numbers").props('data-testid="live-numbers"')
        self._over_time = (
            ui.element("section").classes("part").props('aria-label="Traffic by class over time"')
        )
        with self._over_time:
            heading(2, "Traffic by class over time")
            self._task = ui.toggle([], on_change=self._draw).props(
                "no-caps unelevated color=secondary outline"
            )
            self._task.props('aria-label="Task"')
            self._chart = ui.echart({}).style("height: 16rem")
        self._place = ui.element("section").classes("part").props('aria-label="Flows"')
        self._over_time.visible = self._place.visible = False
        self._table: ui.table | None = None
        self._update()
        ui.timer(REFRESH_S, self._update)

    def _update(self) -> None:
        events = self._feed.since(self._seen)
        self._seen = self._feed.last
        for event in events:
            self._known.add(event)
        self._hint.visible = self._feed.last == 0
        if events:
            self._draw()

    def _draw(self) -> None:
        known = self._known
        self._show_numbers()
        if not known.tasks:
            return
        if self._task.value not in known.tasks or self._table is None:
            self._begin(known.tasks)
        start, rows = known.over_time(self._task.value)
        self._chart.options.clear()
        self._chart.options.update(charts.over_time(start, STEP_S, rows))
        self._chart.update()
        if self._table is not None:
            latest = list(known.flows.values())[-SHOWN:][::-1]
            self._table.rows = [self._row(event) for event in latest]

    def _begin(self, tasks: list[str]) -> None:
        """The first event with tasks shows which columns there are."""
        self._over_time.visible = self._place.visible = True
        self._task.set_options(tasks, value=tasks[0])
        self._place.clear()
        with self._place:
            heading(2, "Latest flows")
            self._table = ui.table(
                columns=head(("flow", *NAMES), tasks), rows=[], row_key="key", pagination={"rowsPerPage": 20}
            )
            self._table.classes("stack").props('flat dense data-testid="live-flows"').style("width: 100%")
            self._table.add_slot("body", cells("flow", NAMES, tasks))

    def _row(self, event: dict[str, Any]) -> dict[str, Any]:
        flow, found = event["flow"], judged(event)
        row = {
            "key": f"{event['host']} {event['flow_id']}",
            "flow": texts.clock(datetime.fromisoformat(event["timestamp"]).timestamp()),
            "closed": True,
            "from": texts.endpoint(event["src_ip"], event["src_port"]),
            "to": f"{texts.endpoint(event['dest_ip'], event['dest_port'])} {event['proto'].lower()}",
            "packets": flow["pkts_toserver"] + flow["pkts_toclient"],
            "bytes": _size(event),
            "state": "ended" if event["state"] == "end" else "going on",
        }
        return row | {task: texts.verdict(found.get(task)) for task in self._known.tasks}

    def _show_numbers(self) -> None:
        self._numbers.clear()
        with self._numbers:
            if not self._known.stats:
                _number("flows reported", f"{len(self._known.flows):,}")
            for (host, interface), stats in self._known.stats.items():
                _show_watch(f"{host} {interface}".strip(), stats)


def _address() -> str:
    """Where the browser found this server."""
    request = ui.context.client.request
    return str(request.base_url) if request is not None else "http://localhost:8000/"


def _show_watch(name: str, stats: dict[str, Any]) -> None:
    dropped = stats["dropped"]
    _number("watch", name if not stats["final"] else f"{name} (ended)")
    _number("packets", f"{stats['packets']:,}")
    _number("flows, active now", f"{stats['flows']['total']:,}, {stats['flows']['active']:,}")
    _number("packets lost", f"{sum(dropped[k] for k in ('kernel', 'interface', 'queue')):,}")
    _number("packets sampled out", f"{dropped['sampling']:,}")


def _number(what: str, value: str) -> None:
    with ui.element("div").classes("number"):
        ui.html(f"<b>{texts.html(value)}</b>", sanitize=False)
        ui.label(what).classes("faint")


def _size(event: Mapping[str, Any]) -> int:
    return int(event["flow"]["bytes_toserver"] + event["flow"]["bytes_toclient"])
