"""The flow table of ``mtc inspect --flows`` as rows, CSV or Parquet."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mtc.columns import FLOW_TABLE
from mtc.files import output_file
from mtc.flows import CaptureSummary


def flow_rows(summary: CaptureSummary) -> Iterator[dict[str, Any]]:
    """Each flow of a capture as plain values; times are Unix seconds."""
    records = summary.records
    if records is None:
        return
    pairs = records.host_pair
    for k in range(len(records)):
        yield {
            "capture": summary.file,
            **records.row(k),
            "packets_forward": int(records.packets_forward[k]),
            "packets_back": int(records.packets_back[k]),
            "bytes_forward": int(records.bytes_forward[k]),
            "bytes_back": int(records.bytes_back[k]),
            "host_pair": int(pairs[k]) + 1,
            "community_id": records.community_id(k),
        }


def write_csv(summaries: list[CaptureSummary], out: Path | None, *, force: bool) -> None:
    """Write all flows as CSV, to standard output without ``out``.

    Raises:
        OutputError: The file cannot be written.
    """
    if out is None:
        _write_rows(summaries, sys.stdout)
        return
    with output_file(out, force=force) as place, place.open("w", newline="", encoding="utf-8") as file:
        _write_rows(summaries, file)


def _write_rows(summaries: list[CaptureSummary], file: IO[str]) -> None:
    writer = csv.DictWriter(file, list(FLOW_TABLE), lineterminator="\n")
    writer.writeheader()
    for summary in summaries:
        for row in flow_rows(summary):
            writer.writerow(row | {"start": f"{row['start']:.9f}", "end": f"{row['end']:.9f}"})


def write_parquet(summaries: list[CaptureSummary], out: Path, *, force: bool) -> None:
    """Write all flows as Parquet, a row group a capture; times are timestamps in ns.

    Raises:
        OutputError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {name: getattr(pa, kind)() for name, kind in FLOW_TABLE.items()}
    kinds |= dict.fromkeys(("start", "end"), pa.timestamp("ns", tz="UTC"))
    schema = pa.schema(list(kinds.items()))
    with (
        output_file(out, force=force) as place,
        pq.ParquetWriter(place, schema, compression="zstd") as writer,
    ):
        for summary in summaries:
            columns = {name: [row[name] for row in flow_rows(summary)] for name in FLOW_TABLE}
            if summary.records is not None:
                columns["start"] = summary.records.start.tolist()
                columns["end"] = summary.records.end.tolist()
            writer.write_table(pa.table(columns, schema=schema))
