"""The live table of ``mtc watch`` on a terminal."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

    from mtc.serving.events import Event
    from mtc.serving.watch import Watch

KEPT_FLOWS = 500
CHROME_LINES = 8
"""Lines of the screen that are no flows."""


class WatchTable:
    """Shows the latest flows and the totals, anew a few times a second; a context manager."""

    def __init__(self, source: str, tasks: tuple[str, ...], console: "Console | None" = None) -> None:
        """Prepare.

        Args:
            source: What is watched.
            tasks: The model's tasks; the first two are shown.
            console: Instead of standard output.
        """
        from rich.console import Console
        from rich.live import Live

        self._source, self._tasks = source, tasks[:2]
        self._console = console or Console()
        self._flows: dict[int, Event] = {}
        self._last: dict[str, Any] = {}
        self._rates = (0.0, 0.0)
        self._live = Live(console=self._console, auto_refresh=False, screen=self._console.is_terminal)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        if self._last:
            self._console.print(self._page(self._last))

    def add(self, event: "Event") -> None:
        """Take an event; shown with the next update."""
        if event["event_type"] == "stats":
            self._count(event)
            return
        self._flows.pop(event["flow_id"], None)
        self._flows[event["flow_id"]] = event
        if len(self._flows) > KEPT_FLOWS:
            del self._flows[next(iter(self._flows))]

    def update(self, watch: "Watch") -> None:
        """Show what there is."""
        self._count(watch.stats())
        self._live.update(self._page(self._last), refresh=True)

    def _count(self, stats: dict[str, Any]) -> None:
        """Rates over the last seconds, smoothed."""
        if self._last and (seconds := stats["uptime_s"] - self._last["uptime_s"]) > 0:
            now = ((stats[name] - self._last[name]) / seconds for name in ("packets", "bytes"))
            packets, wire_bytes = (0.8 * old + 0.2 * new for old, new in zip(self._rates, now, strict=True))
            self._rates = (packets, wire_bytes)
        self._last = stats

    def _page(self, stats: dict[str, Any]) -> "Group":
        from rich.console import Group
        from rich.text import Text

        flows, dropped = stats["flows"], stats["dropped"]
        head = (
            f"{self._source}   {self._rates[0]:,.0f} packets/s   {_bits(8 * self._rates[1])}/s   "
            f"{flows['active']:,} flows active, {flows['total']:,} in all   "
            f"{stats['packets']:,} packets, {stats['samples']['judged']:,} classified"
        )
        lost = ", ".join(f"{where} {count:,}" for where, count in dropped.items())
        foot = f"dropped: {lost}   new flows classified: {stats['sampling_rate']:.1%}   Ctrl-C ends"
        style = "bold red" if any(dropped.values()) else "dim"
        return Group(Text(head, style="bold"), self._table(), Text(foot, style=style))

    def _table(self) -> "Table":
        from rich.table import Table

        table = Table(expand=True)
        for name in ("flow", "", *self._tasks, "packets", "rate", "state"):
            right = name in ("packets", "rate")
            table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
        room = max(3, self._console.height - CHROME_LINES)
        for event in list(self._flows.values())[: -room - 1 : -1]:
            table.add_row(*self._row(event))
        return table

    def _row(self, event: "Event") -> list[str]:
        flow = event["flow"]
        packets = flow["pkts_toserver"] + flow["pkts_toclient"]
        bits = 8 * (flow["bytes_toserver"] + flow["bytes_toclient"])
        ends = f"{event['src_ip']}:{event['src_port']} > {event['dest_ip']}:{event['dest_port']}"
        verdicts = [_verdict(event["tasks"][task], sampled=event["sampled"]) for task in self._tasks]
        rate = f"{_bits(bits / flow['age'])}/s" if flow["age"] > 0 else ""
        return [ends, event["proto"], *verdicts, f"{packets:,}", rate, event["reason"]]


def _verdict(found: dict[str, Any] | None, *, sampled: bool) -> str:
    if found is None:
        return "[dim]-[/dim]" if sampled else "[dim]not classified[/dim]"
    style = "dim" if "likeliest" in found else "bold"
    return f"[{style}]{found['label']}[/{style}] {found['confidence']:.2f}"


def _bits(bits: float) -> str:
    for unit in ("bit", "kbit", "Mbit"):
        if bits < 1000:
            return f"{bits:.0f} {unit}"
        bits /= 1000
    return f"{bits:.1f} Gbit"
