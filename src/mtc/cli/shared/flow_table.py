"""The columns of tables of flows, in ``mtc flows``, ``mtc classify`` and ``mtc demo``."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from mtc.cli.shared.tables import (
    TableColumn,
    duration_text,
    end_name,
    endpoint,
    named_endpoint,
    protocol_text,
    size_text,
    time_text,
    verdict_text,
)
from mtc.columns import CONFLICT
from mtc.rows import Row, RowSchema
from mtc.tasks import Tasks

SHOWN_LABELS = 3
"""Most labels that the cell of a host shows."""

MARK = "!"
LEGEND = f"{MARK} conflicting labels: never together in the training data, at least one is likely wrong"
BY = {"server_name": "name", "protocol": "protocol", "model": "model", "unknown": ""}
_STYLES = {"server_name": "green", "protocol": "cyan", "model": "yellow", "unknown": "dim"}


def flow_columns() -> tuple[TableColumn, ...]:
    """Columns of flow records without verdicts."""
    return (
        *_ENDS,
        TableColumn("protocol", protocol_text),
        TableColumn("service", _service, least=10),
        *_MORE,
    )


def verdict_columns(tasks: Tasks) -> tuple[TableColumn, ...]:
    """Columns of flows with verdicts of a model with these tasks.

    A model with other tasks than application and type of traffic decides no verdict: its labels are shown.
    """
    if not {"application", "traffic", "type"} & {*tasks}:
        return (*_ENDS, *label_columns(tasks), TableColumn("protocol", protocol_text, optional=True), *_MORE)
    return (
        *_ENDS,
        TableColumn("verdict", verdict_text, least=16, cut_end=True, style=_style),
        TableColumn("by", lambda row: BY[row["verdict"]["by"]], style=_style),
        TableColumn("conf", _confidence, right=True, style=_style),
        TableColumn("protocol", protocol_text, optional=True),
        *_MORE[:3],
        *(TableColumn(task, _labels(task), optional=True, style=lambda row: "dim") for task in tasks),
        *_MORE[3:],
    )


def packet_columns(tasks: Tasks) -> tuple[TableColumn, ...]:
    """Columns of packets with the labels of a model."""
    return (
        TableColumn("flow", lambda row: f"{row['flow']}", right=True),
        TableColumn("packet", lambda row: f"{row['packet']}", right=True),
        TableColumn("from", lambda row: endpoint(row["src"], row["src_port"]), least=13),
        TableColumn("to", lambda row: endpoint(row["dst"], row["dst_port"]), least=13),
        TableColumn("bytes", lambda row: f"{row['bytes']:,}", right=True),
        *label_columns(tasks),
    )


def table_row_columns(tasks: Tasks) -> tuple[TableColumn, ...]:
    """Columns of rows of flow features with the labels of a model."""
    return (
        TableColumn("row", lambda row: f"{row['row']:,}", right=True),
        *label_columns(tasks, "unreadable"),
    )


def label_columns(tasks: Tasks, nothing: str = "no sample") -> Iterator[TableColumn]:
    """A column per task, none of them optional."""
    return (TableColumn(task, _labels(task, nothing), least=12) for task in tasks)


def group_columns(schema: RowSchema, tasks: Tasks) -> tuple[TableColumn, ...]:
    """Columns of hosts, services or types, by the schema of their rows."""
    if schema.columns[0].name == "host":
        return (
            TableColumn("host", _host, least=16),
            TableColumn("flows", lambda row: f"{row['flows']:,}", right=True),
            TableColumn("sent", lambda row: size_text(row["bytes_sent"]), right=True),
            TableColumn("received", lambda row: size_text(row["bytes_received"]), right=True),
            TableColumn("verdicts, share of bytes", _shares("verdict"), least=24),
            TableColumn("packets", lambda row: f"{row['packets']:,}", right=True, optional=True),
            TableColumn("address", lambda row: row["host"], optional=True),
            *(TableColumn(f"{task}, share of bytes", _shares(task), optional=True) for task in tasks),
        )
    names = [column.name for column in schema.columns if column.name in ("service", "type")]
    return (
        *(TableColumn(name, _Field(name), least=10) for name in names),
        TableColumn("flows", lambda row: f"{row['flows']:,}", right=True),
        TableColumn("packets", lambda row: f"{row['packets']:,}", right=True),
        TableColumn("bytes", lambda row: size_text(row["bytes"]), right=True),
        TableColumn("first (UTC)", lambda row: time_text(row["start"]), optional=True),
        TableColumn("last (UTC)", lambda row: time_text(row["end"]), optional=True),
    )


class _Field:
    """The cell of a text."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, row: Row) -> str:
        return str(row[self._name])


def _host(row: Row) -> str:
    names = row["names"]
    return f"{names[0]}" + (f" +{len(names) - 1}" if len(names) > 1 else "") if names else str(row["host"])


def _shares(answer: str) -> "_Shares":
    return _Shares(answer)


class _Shares:
    """The cell of an answer about a host: the labels with most bytes, and their shares."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def __call__(self, row: Row) -> str:
        counts: Mapping[str, int] = row[self._answer]["bytes"]
        total = sum(counts.values()) or 1
        first = list(counts.items())[:SHOWN_LABELS]
        text = ", ".join(f"{label} {n / total:.0%}" for label, n in first)
        return text + (f" +{len(counts) - len(first)}" if len(counts) > len(first) else "")


def legend(rows: Sequence[Row]) -> str:
    """The line below a table whose labels carry marks."""
    return LEGEND if any(row[CONFLICT] for row in rows) else ""


def _service(row: Row) -> str:
    found = row["service"]
    if found is None:
        return ""
    parts = (found["application"], found["type"])
    return ", ".join(part for part in parts if part)


def _confidence(row: Row) -> str:
    found = row["verdict"]["confidence"]
    return "" if found is None else f"{found:.2f}"


def _labels(task: str, nothing: str = "") -> "_Labels":
    return _Labels(task, nothing)


class _Labels:
    """The cell of a task: label, confidence, and a mark where labels conflict."""

    def __init__(self, task: str, nothing: str) -> None:
        self._task, self._nothing = task, nothing

    def __call__(self, row: Row) -> str:
        found = row[self._task]
        if found is None:
            return self._nothing
        mark = MARK if any(self._task in pair for pair in row[CONFLICT] or ()) else ""
        return f"{found['label']}{mark} {found['confidence']:.2f}"


def _style(row: Row) -> str:
    return _STYLES[row["verdict"]["by"]]


_ENDS = (
    TableColumn("flow", lambda row: f"{row['flow']}", right=True),
    TableColumn("from", partial(named_endpoint, side="src"), least=11, short=partial(end_name, side="src")),
    TableColumn("to", partial(named_endpoint, side="dst"), least=16),
    TableColumn("bytes", lambda row: size_text(row["bytes"]), right=True),
)
_MORE = (
    TableColumn("packets", lambda row: f"{row['packets']:,}", right=True, optional=True),
    TableColumn("start (UTC)", lambda row: time_text(row["start"]), optional=True),
    TableColumn("lasts", lambda row: duration_text(row["end"] - row["start"]), right=True, optional=True),
    TableColumn("ja4", lambda row: row["ja4"] or "", optional=True),
    TableColumn("alpn", lambda row: " ".join(row["alpn"] or ()), optional=True),
    TableColumn("name from", lambda row: row["server_name_by"] or "", optional=True),
    TableColumn("community id", lambda row: row["community_id"], optional=True),
)
