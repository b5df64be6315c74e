"""Flow features as CSV, Parquet or JSON lines, piece by piece."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import communityid
import numpy as np

from mtc.capture import CaptureReader, Source, expand_inputs, open_capture
from mtc.errors import CaptureError, UsageError
from mtc.flows.features.conventions import (
    CICFLOWMETER4,
    CICIDS2017,
    CORRECTED,
    IDENTITY,
    STATISTICS,
    Convention,
    convention_named,
)
from mtc.flows.features.table import FeatureRows, FeatureTable
from mtc.flows.texts import format_addresses
from mtc.packets import Selection
from mtc.packets.transport import ICMP, ICMPV6

Values = list[int] | list[float] | list[str] | list[str | None]

LABEL, COMMUNITY_ID, CAPTURE = "Label", "Community ID", "Capture"
"""Columns behind the statistics; the last two are ours."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REAL = (
    "Mean",
    "Std",
    "Variance",
    "/s",
    "Avg",
    "Average",
    "Ratio",
    "Length of",
    "Length M",
    "IAT",
    "Size Avg",
)
_WHOLE_IN_OLDER = ("Bulk", "Subflow")


def whole_columns(convention: Convention) -> frozenset[str]:
    """The statistics that a convention writes as whole numbers."""
    names = []
    for column, place in zip(convention.columns, convention.places, strict=True):
        name = STATISTICS[place]
        older = convention.code != CORRECTED
        if any(word in name for word in _WHOLE_IN_OLDER):
            whole = older
        else:
            whole = not any(word in name for word in _REAL) and not name.startswith(("Active", "Idle"))
        if whole:
            names.append(column)
    return frozenset(names)


def column_types(convention: Convention) -> dict[str, str]:
    """Every column of the output in its order, with its Arrow type."""
    whole = whole_columns(convention)
    identity = ("string", "string", "uint16", "string", "uint16", "uint8", "string")
    return {
        **dict(zip(IDENTITY, identity, strict=True)),
        **{name: "int64" if name in whole else "float64" for name in convention.columns},
        **dict.fromkeys((LABEL, COMMUNITY_ID, CAPTURE), "string"),
    }


def output_columns(rows: FeatureRows, convention: Convention, capture: str) -> dict[str, Values]:
    """The columns of the output, ``column_types``, as lists of plain values.

    Args:
        rows: Flows that have ended.
        convention: The one they were computed by.
        capture: Name of their capture.
    """
    src, dst = format_addresses(rows.ip_version, rows.src), format_addresses(rows.ip_version, rows.dst)
    src_port, dst_port = rows.src_port.tolist(), rows.dst_port.tolist()
    protocol = rows.protocol.tolist()
    swapped = _signed_greater(rows) if convention.code == CICIDS2017 else rows.reversed_id
    flow_id = [
        f"{d}-{s}-{dp}-{sp}-{p}" if swap else f"{s}-{d}-{sp}-{dp}-{p}"
        for s, d, sp, dp, p, swap in zip(
            src, dst, src_port, dst_port, protocol, swapped.tolist(), strict=True
        )
    ]
    times = [timestamp_text(time, convention) for time in (rows.start // 1000).tolist()]
    columns: dict[str, Values] = dict(
        zip(IDENTITY, (flow_id, src, src_port, dst, dst_port, protocol, times), strict=True)
    )
    whole = whole_columns(convention)
    for name, place in zip(convention.columns, convention.places, strict=True):
        values = rows.values[:, place]
        columns[name] = values.astype(np.int64).tolist() if name in whole else values.tolist()
    columns[LABEL] = [convention.label] * len(rows)
    columns[COMMUNITY_ID] = _community_ids(rows)
    columns[CAPTURE] = [capture] * len(rows)
    return columns


def timestamp_text(microseconds: int, convention: Convention) -> str:
    """The time of a flow's first packet in UTC: with a clock of twelve hours, or to the microsecond."""
    time = _EPOCH + timedelta(microseconds=microseconds)
    if convention.code == CICIDS2017:
        return time.strftime("%d/%m/%Y %I:%M:%S")
    if convention.code == CICFLOWMETER4:
        return time.strftime("%d/%m/%Y %I:%M:%S ") + ("AM" if time.hour < 12 else "PM")
    text = time.strftime("%Y-%m-%d %H:%M:%S")
    if time.microsecond % 1000:
        return f"{text}.{time.microsecond:06}"
    return f"{text}.{time.microsecond // 1000:03}" if time.microsecond else text


def _signed_greater(rows: FeatureRows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where the source is the greater address, bytes compared as signed numbers."""
    wide = np.where(rows.ip_version == 6, np.uint64(0x8080808080808080), np.uint64(0x80808080))
    flip = np.stack([np.where(rows.ip_version == 6, wide, np.uint64(0)), wide], axis=1)
    src, dst = rows.src ^ flip, rows.dst ^ flip
    greater: np.ndarray[tuple[int], np.dtype[np.bool_]] = (src[:, 0] > dst[:, 0]) | (
        (src[:, 0] == dst[:, 0]) & (src[:, 1] > dst[:, 1])
    )
    return greater


def _community_ids(rows: FeatureRows) -> list[str | None]:
    """Community ids; of ICMP, which stands for its type and code instead of ports, by the library."""
    records = rows.records()
    kinds = [STATISTICS.index(name) for name in ("ICMP Type", "ICMP Code")]
    found: list[str | None] = records.columns()["community_id"]
    for i in np.flatnonzero(np.isin(rows.protocol, (ICMP, ICMPV6))).tolist():
        tuples = communityid.FlowTuple
        make = tuples.make_icmp if rows.protocol[i] == ICMP else tuples.make_icmp6
        kind, code = (int(value) for value in rows.values[i, kinds])
        flow = make(records.address("src", i), records.address("dst", i), kind, code)
        found[i] = str(communityid.CommunityID().calc(flow))
    return found


class FeatureWriter(ABC):
    """Takes flows and writes a row each."""

    def __init__(self, convention: Convention) -> None:
        self._convention = convention
        self._types = column_types(convention)

    def write(self, rows: FeatureRows, capture: str, labels: list[str] | None = None) -> None:
        """Write the flows of a capture, with their labels in place of the tool's word for none."""
        if len(rows):
            columns = output_columns(rows, self._convention, capture)
            self._write(columns if labels is None else {**columns, LABEL: labels})

    @abstractmethod
    def _write(self, columns: dict[str, Values]) -> None: ...

    def finish(self) -> None:  # noqa: B027 - most writers have nothing left to do
        """Write what is still held."""


class FeatureCsvWriter(FeatureWriter):
    """One line per flow, numbers as Java prints them: shortest exact decimals, ``Infinity`` and ``NaN``."""

    def __init__(self, file: IO[str], convention: Convention) -> None:
        super().__init__(convention)
        self._file = file
        file.write(",".join(self._types) + "\n")

    def _write(self, columns: dict[str, Values]) -> None:
        texts = [_texts(values, self._types[name]) for name, values in columns.items()]
        self._file.write("".join(",".join(row) + "\n" for row in zip(*texts, strict=True)))


def _texts(values: Values, kind: str) -> list[str]:
    if kind == "float64":
        return [_real(value) for value in values]  # type: ignore[arg-type]
    if kind == "string":
        return ["" if value is None else _quoted(str(value)) for value in values]
    return list(map(str, values))


def _real(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _quoted(text: str) -> str:
    if any(mark in text for mark in ',"\r\n'):  # only names of captures can hold them
        return '"' + text.replace('"', '""') + '"'
    return text


class FeatureJsonWriter(FeatureWriter):
    """One object a line; numbers that JSON lacks are the texts ``Infinity`` and ``NaN``."""

    def __init__(self, file: IO[str], convention: Convention) -> None:
        super().__init__(convention)
        self._file = file

    def _write(self, columns: dict[str, Values]) -> None:
        names = list(columns)
        for row in zip(*columns.values(), strict=True):
            self._file.write(json.dumps(dict(zip(names, map(_plain, row), strict=True))) + "\n")


def _plain(value: Any) -> Any:
    return _real(value) if isinstance(value, float) and not math.isfinite(value) else value


class FeatureParquetWriter(FeatureWriter):
    """A Parquet file, a row group for each piece."""

    def __init__(self, path: Path, convention: Convention) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(convention)
        self._schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in self._types.items()])
        self._table = pa.Table
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")

    def _write(self, columns: dict[str, Values]) -> None:
        self._file.write_table(self._table.from_pydict(columns, schema=self._schema))

    def finish(self) -> None:
        """Close the file."""
        self._file.close()


Progress = Callable[[Source, int], None]
"""Called with a capture and the bytes newly read of it."""


def iter_features(
    *captures: str | Path, convention: str = "corrected", strict: bool = False
) -> Iterator[tuple[str, FeatureRows]]:
    """CICFlowMeter's features of the flows of captures.

    Args:
        captures: Files, folders, zip members, or ``-`` for standard input.
        convention: ``cicids2017``, ``cicflowmeter4`` or ``corrected``, see docs/cicids2017.md.
        strict: Whether packets are read as the original tool reads them: IPv4 over Ethernet or raw IP only.

    Yields:
        Name of a capture and flows of it that have ended, in the order of their ends; the flows that are
        open at the end of the capture come last, by first packet.

    Raises:
        CaptureError: A capture cannot be read, or not to its end; what came before has been yielded.
        UsageError: There is no such convention, or no capture.
    """
    problems: list[str] = []
    found = convention_named(convention)
    for source, rows in features_of(expand_inputs(captures), found, problems, strict=strict):
        yield source.name, rows
    if problems:
        raise CaptureError(problems[0])


def features_of(
    sources: Iterable[Source],
    convention: Convention,
    problems: list[str],
    *,
    strict: bool = False,
    decapsulate: bool = True,
    selection: Selection | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Source, FeatureRows]]:
    """The flows of captures, piece by piece.

    Args:
        sources: What ``mtc.capture.expand_inputs`` yields.
        convention: How flows are delimited and features computed.
        problems: One line is appended for each capture that cannot be read, or not to its end.
        strict: As for ``iter_features``.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet; ``strict`` peels none.
        selection: Which packets count.
        progress: Called after each batch.

    Raises:
        CaptureError: Nothing could be read from any source; ``problems`` holds the lines for the others.
        UsageError: There is no source.
    """
    given = read = 0
    for source in sources:
        given += 1
        try:
            with open_capture(source) as reader:
                table = FeatureTable(convention, strict=strict, decapsulate=decapsulate, selection=selection)
                seen = packets = 0
                for batch in reader:
                    yield source, table.update(batch)
                    packets += len(batch)
                    if progress is not None:
                        progress(source, reader.bytes_read - seen)
                        seen = reader.bytes_read
                yield from ((source, rows) for rows in table.finish())
                read += _note_damage(reader, packets, problems)
        except CaptureError as error:
            problems.append(str(error))
    if not given:
        raise UsageError("no capture was given")
    if not read:
        raise CaptureError(problems.pop())


def _note_damage(reader: CaptureReader, packets: int, problems: list[str]) -> bool:
    """Whether anything was read; damage before the first packet leaves nothing."""
    if reader.damage is not None:
        problems.append(f"{reader.name}: {reader.damage}")
    return reader.damage is None or packets > 0
