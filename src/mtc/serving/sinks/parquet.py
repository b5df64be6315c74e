"""Flow verdicts as Parquet, one file per hour, by way of a journal that survives a sudden end."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from mtc.serving.events import nanoseconds
from mtc.serving.sinks.base import SinkDown
from mtc.serving.sinks.spool import append_whole

JOURNAL = ".journal"
ROWS = 20_000
"""Rows of a row group, and of events held in memory at a time."""

_FLOW = ("pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient", "start", "end", "age")


class ParquetSink:
    """Writes DIR/2026-11-23T15.parquet when the hour (UTC) is over, or when the watch ends.

    Until then the hour's events stand in DIR/.journal/2026-11-23T15.jsonl; what a process that died
    left there becomes Parquet at the next start. An hour that is continued gets a further file. Events
    of kind ``stats`` are skipped.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hour = ""
        self._file: IO[bytes] | None = None
        self._recovered = False

    def send(self, lines: Sequence[str]) -> None:
        """See ``Sink``."""
        rows = [line for line in lines if json.loads(line)["event_type"] == "flow_verdict"]
        try:
            if not self._recovered:
                self._finish_journals(but="")
                self._recovered = True
            hour = f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m-%dT%H}"
            if self._file is None or hour != self._hour or not self._path(hour).exists():
                self._file = self._turned(hour)
            if rows:
                append_whole(self._file, "".join(f"{line}\n" for line in rows).encode())
        except OSError as error:
            self._let_go()
            raise SinkDown((error.strerror or str(error)).lower()) from error

    def close(self) -> None:
        """See ``Sink``."""
        self._let_go()
        with contextlib.suppress(OSError):  # then the journal stays, and the next start makes it Parquet
            self._finish_journals(but="")

    def _path(self, hour: str) -> Path:
        return self._folder / JOURNAL / f"{hour}.jsonl"

    def _turned(self, hour: str) -> IO[bytes]:
        """The journal of an hour, open at its end; those before it have become Parquet."""
        self._let_go()
        self._finish_journals(but=hour)
        self._path(hour).parent.mkdir(parents=True, exist_ok=True)
        self._hour = hour
        return self._path(hour).open("ab", buffering=0)

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _finish_journals(self, but: str) -> None:
        """Make Parquet of the journals of other hours than ``but``."""
        for journal in sorted((self._folder / JOURNAL).glob("*.jsonl")):
            if journal.stem == but:
                continue
            if journal.stat().st_size:
                target, number = self._folder / f"{journal.stem}.parquet", 1
                while target.exists():
                    number += 1
                    target = self._folder / f"{journal.stem}-{number}.parquet"
                part = self._folder / f".{target.name}.{os.getpid()}.part"
                try:
                    _to_parquet(journal, part)
                    part.replace(target)
                finally:
                    part.unlink(missing_ok=True)
            journal.unlink()


def _to_parquet(journal: Path, path: Path) -> None:
    import pyarrow.parquet as pq

    tasks = sorted({task for events in _chunks(journal) for event in events for task in event["tasks"]})
    schema = _schema(tasks)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for events in _chunks(journal):
            writer.write_table(_table(events, tasks, schema))


def _chunks(journal: Path) -> Iterator[list[dict[str, Any]]]:
    """The journal's events; a last line that a sudden end has cut is skipped."""
    chunk: list[dict[str, Any]] = []
    with journal.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                chunk.append(json.loads(line))
            if len(chunk) == ROWS:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


_TEXT = dict.fromkeys(("host", "in_iface", "community_id", "src_ip", "dest_ip", "proto"), "string")
_FIXED = {
    "timestamp": "time",
    **_TEXT,
    "flow_id": "int64",
    "src_port": "uint16",
    "dest_port": "uint16",
    **dict.fromkeys(_FLOW[:4], "int64"),
    "start": "time",
    "end": "time",
    "age": "float64",
    **dict.fromkeys(("state", "reason", "vpn", "conflict", "model", "model_version"), "string"),
    "samples": "int64",
    "samples_judged": "int64",
    "sampled": "bool",
    "sampling_rate": "float64",
    "schema_version": "int32",
    "event_type": "string",
}
"""Columns that are no tasks, with their types."""


def _columns(task: str) -> tuple[str, str, str, str]:
    """Label, confidence, likeliest class and probabilities of a task; none is named like a fixed column."""
    stem = f"task_{task}" if task in _FIXED else task
    return stem, f"{stem}_confidence", f"{stem}_likeliest", f"{stem}_probabilities"


def _schema(tasks: Sequence[str]) -> Any:
    import pyarrow as pa

    types = {
        name: pa.type_for_alias(name) for name in ("string", "int64", "uint16", "int32", "float64", "bool")
    }
    types["time"] = pa.timestamp("ns", tz="UTC")
    fields = [(name, types[kind]) for name, kind in _FIXED.items()]
    for task in tasks:
        kinds = (pa.string(), pa.float64(), pa.string(), pa.map_(pa.string(), pa.float64()))
        fields += zip(_columns(task), kinds, strict=True)
    return pa.schema(fields)


def _table(events: list[dict[str, Any]], tasks: Sequence[str], schema: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist([_row(event, tasks) for event in events], schema=schema)


def _row(event: dict[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    row = {name: value for name, value in event.items() if name not in ("flow", "tasks", "model")}
    row |= {name: event["flow"][name] for name in _FLOW}
    for name in ("timestamp", "start", "end"):
        row[name] = nanoseconds(row[name])
    for name in ("vpn", "conflict"):
        if name in row:
            row[name] = json.dumps(row[name])
    for task in tasks:
        found = event["tasks"].get(task) or {}
        answers = (found.get("label"), found.get("confidence"), found.get("likeliest", found.get("label")))
        probabilities = list(found.get("probabilities", {}).items()) or None
        row |= dict(zip(_columns(task), (*answers, probabilities), strict=True))
    return row | {"model": event["model"]["name"], "model_version": event["model"]["version"]}
