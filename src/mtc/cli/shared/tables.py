"""Tables for people: as many columns as fit, none of them squeezed to nothing."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from mtc.flows import server_side
from mtc.rows import Row, Writer

PIPED_WIDTH = 160
"""Characters of a line where standard output is no terminal and ``COLUMNS`` is not set."""

LEAST_WIDTH = 40
GAP = "  "
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def stdout_console() -> Console:
    """Standard output, wide enough for tables where it is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column.

    Attributes:
        title: Its heading.
        text: The cell of a row.
        right: Whether cells are flushed right.
        least: Characters down to which cells may be shortened; 0: they are never shortened.
        short: The cell where the line is too short for all of ``text``.
        cut_end: Whether cells are cut at their end, and not in their middle.
        optional: Whether it is shown only where the line is long enough; those first in a table appear first.
        style: Style of a cell.
    """

    title: str
    text: Callable[[Row], str]
    right: bool = False
    least: int = 0
    short: Callable[[Row], str] | None = None
    cut_end: bool = False
    optional: bool = False
    style: Callable[[Row], str] = lambda row: ""


class RowTable(Writer):
    """Collects rows and prints them as a table.

    Rows of several captures stand below the name of their capture.
    """

    def __init__(
        self,
        columns: Sequence[TableColumn],
        *,
        console: Console | None = None,
        legend: Callable[[Sequence[Row]], str] | None = None,
    ) -> None:
        """Collect rows.

        Args:
            columns: In the order shown.
            console: Where it is printed; standard output by default.
            legend: Makes the line below the table of its rows.
        """
        self._columns = columns
        self._console = console or stdout_console()
        self._legend = legend
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows.append(row)

    def finish(self) -> None:
        """Print the table."""
        for line in self.lines():
            self._console.print(line, soft_wrap=True)
        if self._legend is not None and (legend := self._legend(self._rows)):
            self._console.print(legend, markup=False)

    def lines(self) -> Iterable[Text]:
        """The lines of the table."""
        width = max(self._console.width, LEAST_WIDTH)
        cells = {column.title: [_clean(column.text(row)) for row in self._rows] for column in self._columns}
        shown, widths = _fit(self._columns, cells, width)
        if any(widths[c.title] < _natural(c, cells) for c in shown):
            for column in self._columns:
                if column.short is not None:
                    cells[column.title] = [_clean(column.short(row)) for row in self._rows]
            shown, widths = _fit(self._columns, cells, width)
        yield Text(GAP.join(_pad(c.title, widths[c.title], right=c.right) for c in shown).rstrip(), "bold")
        by_capture: dict[str, list[int]] = {}
        for i, row in enumerate(self._rows):
            by_capture.setdefault(row.get("capture", ""), []).append(i)
        for capture, rows in by_capture.items():
            if len(by_capture) > 1:
                yield Text(shorten(_clean(capture), self._console.width), "bold")
            for i in rows:
                line = Text()
                for n, column in enumerate(shown):
                    cut = shorten_end if column.cut_end else shorten
                    cell = cut(cells[column.title][i], widths[column.title])
                    last = n == len(shown) - 1 and not column.right
                    padded = cell if last else _pad(cell, widths[column.title], right=column.right)
                    line.append(padded, column.style(self._rows[i]) or None)
                    line.append("" if n == len(shown) - 1 else GAP)
                line.rstrip()
                yield line


def _fit(
    columns: Sequence[TableColumn], cells: dict[str, list[str]], width: int
) -> tuple[list[TableColumn], dict[str, int]]:
    """The columns that fit, and their widths."""
    natural = {c.title: _natural(c, cells) for c in columns}
    shown = [c for c in columns if not c.optional]
    for column in (c for c in columns if c.optional):
        if any(cells[column.title]) and _total([*shown, column], natural) <= width:
            shown.append(column)
    shown.sort(key=columns.index)
    widths = {c.title: natural[c.title] for c in shown}
    while (over := _total(shown, widths) - width) > 0:
        loose = [c for c in shown if c.least and widths[c.title] > max(c.least, cell_len(c.title))]
        if not loose:
            break
        widest = max(loose, key=lambda c: widths[c.title])
        others = [widths[c.title] for c in loose if c is not widest]
        floor = max(
            widest.least, cell_len(widest.title), min(max(others, default=0), widths[widest.title] - 1)
        )
        widths[widest.title] -= min(over, widths[widest.title] - floor)
    return shown, widths


def _natural(column: TableColumn, cells: dict[str, list[str]]) -> int:
    return max(map(cell_len, (column.title, *cells[column.title])))


def _total(columns: Sequence[TableColumn], widths: dict[str, int]) -> int:
    return sum(widths[c.title] for c in columns) + len(GAP) * (len(columns) - 1)


def _clean(text: str) -> str:
    """Text without control characters, which a name from the network may hold."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def shorten(text: str, width: int) -> str:
    """Cut a text in the middle, so that both its beginning and its end are seen."""
    if cell_len(text) <= width:
        return text
    if width < 4:
        return chop_cells(text, max(width, 1))[0]
    tail = (width - 1) * 3 // 5
    end = text
    while cell_len(end) > tail:
        end = end[1:]
    return chop_cells(text, width - 1 - cell_len(end))[0] + "…" + end


def shorten_end(text: str, width: int) -> str:
    """Cut a text at its end."""
    return text if cell_len(text) <= width else chop_cells(text, max(width - 1, 1))[0] + "…"


def size_text(count: int) -> str:
    """Bytes in units of 1000, three digits."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    if unit == 0:
        return f"{count} B"
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """A duration in units that fit it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def time_text(seconds: float, *, seconds_only: bool = True) -> str:
    """A time in UTC."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"
    return f"{moment:%Y-%m-%d %H:%M:%S}" + ("" if seconds_only else f".{moment.microsecond // 1000:03d}")


def endpoint(address: str, port: int) -> str:
    """Address and port as text."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def named_endpoint(row: Row, side: str) -> str:
    """One end of a flow with its port: the name where there is one, else the address."""
    return endpoint(end_name(row, side), row[f"{side}_port"])


def end_name(row: Row, side: str) -> str:
    """One end of a flow: the name where there is one, else the address."""
    name = row.get("server_name")
    return str(name if name and side == server_side(row) else row[side])


def verdict_text(row: Row) -> str:
    """What a flow is, in words."""
    found: dict[str, Any] = row["verdict"]
    protocol = protocol_text(row)
    if found["by"] == "unknown":
        return f"unknown ({protocol})" if row["app_proto"] else "unknown"
    what = found["application"] or (protocol if found["by"] == "protocol" else None)
    parts = [what, found["type"]] if what and what != found["type"] else [found["type"] or what]
    return ", ".join(part for part in parts if part)


def protocol_text(row: Row) -> str:
    """The application protocol, as people write it."""
    proto = row["app_proto"]
    if proto is None:
        return str(row["protocol"]).upper()
    return _SPELLINGS.get(proto) or str(proto).upper()


_SPELLINGS = {
    "bittorrent": "BitTorrent",
    "bittorrent-dht": "BitTorrent DHT",
    "openvpn": "OpenVPN",
    "wireguard": "WireGuard",
    "mdns": "mDNS",
    "dot": "DNS over TLS",
    "krb5": "Kerberos",
    "pgsql": "PostgreSQL",
    "mysql": "MySQL",
    "syslog": "syslog",
    "redis": "Redis",
    "modbus": "Modbus",
    "socks": "SOCKS",
    "dhcpv6": "DHCPv6",
    "ftp-data": "FTP data",
    "http2": "HTTP/2",
    "telnet": "Telnet",
}
