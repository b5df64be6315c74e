"""What a job has written, read by the server: its own lines of its own files, in bounded memory."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILES = {"json": "verdicts.jsonl", "csv": "verdicts.csv", "parquet": "verdicts.parquet"}
"""Format -> name of the file in a job's folder."""

MEDIA = {
    "json": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}

FLOWS = "flows.jsonl"
"""Flows in few fields, for lists of them."""


async def find_flows(
    folder: Path,
    tasks: Mapping[str, Any],
    text: str = "",
    task: str | None = None,
    label: str | None = None,
    least_confidence: float = 0,
    offset: int = 0,
    limit: int = 1000,
) -> dict[str, Any]:
    """Flows of a job that fit.

    Args:
        folder: The job's.
        tasks: The tasks of its rows.
        text: To be found in an address, a port, the protocol, the capture or a label.
        task: The task that ``label`` and ``least_confidence`` are about; the first by default.
        label: What the verdict must be.
        least_confidence: How sure it must be.
        offset: Flows that fit to pass over.
        limit: Most flows to return.

    Returns:
        ``flows`` in the order of the captures, and ``total``, how many fit.
    """
    about = task if task is not None and task in tasks else next(iter(tasks))

    def search() -> dict[str, Any]:
        flows: list[dict[str, Any]] = []
        total = 0
        with (folder / FLOWS).open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if _fits(row, tasks, text.lower(), about, label, least_confidence):
                    total += 1
                    if offset < total <= offset + limit:
                        flows.append(row)
        return {"flows": flows, "total": total}

    return await asyncio.to_thread(search)


def _fits(
    row: dict[str, Any],
    tasks: Mapping[str, Any],
    text: str,
    task: str,
    label: str | None,
    least_confidence: float,
) -> bool:
    found = row[task] or {"label": "no sample", "confidence": 0}
    if label is not None and found["label"] != label:
        return False
    if found["confidence"] < least_confidence:
        return False
    if not text:
        return True
    words = [row[name] for name in ("protocol", "src", "dst", "capture", "src_port", "dst_port")]
    words += [row[name]["label"] for name in tasks if row[name]]
    return any(text in str(word).lower() for word in words)
