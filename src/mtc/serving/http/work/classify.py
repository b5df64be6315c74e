"""A job: verdicts on the captures of an upload, as files, and what the page shows of them."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import communityid
import numpy as np
from numpy.typing import NDArray

from mtc import columns
from mtc.capture import Source
from mtc.errors import MtcError
from mtc.flows import SampleStream
from mtc.inference import CaptureVerdicts, Classifier, PacketVerdicts, VerdictSettings
from mtc.inference.verdicts import flow_schema
from mtc.rows import CsvWriter, JsonWriter, ParquetWriter, RowSchema, Writer
from mtc.serving.http.work.results import FILES, FLOWS
from mtc.serving.http.work.sources import check, classifier, sources_of
from mtc.serving.pseudonyms import Pseudonyms
from mtc.tasks import Tasks, with_vpn

Report = Callable[[dict[str, Any]], None]
Marks = tuple[tuple[str, ...], NDArray[np.int64]]
"""Names of the classes of a task, and the index of each flow's verdict among them."""

TELL_EVERY_S = 0.2
NO_SAMPLE = "no sample"
STEPS = 10
"""Of the histogram of confidence, from 0 to 1."""


def run(task: dict[str, Any], report: Report) -> dict[str, Any]:
    """Do a job.

    Args:
        task: See ``mtc.serving.http.jobs.Jobs``.
        report: Called with ``progress`` from time to time.

    Returns:
        What is known of the captures and their flows; see ``Tally.to_dict``.

    Raises:
        MtcError: Nothing could be read, or too much came out.
    """
    chosen = classifier(task["model"])
    key = task["pseudonym_key"]
    rename = None if key is None else Pseudonyms(bytes.fromhex(key)).address
    problems: list[str] = []
    sources, budget = sources_of(task, problems)
    tally = Tally(chosen.tasks, over_time=not chosen.reads_features)
    report_progress = _progress(sources, report)
    with ExitStack() as stack:
        writers = _writers(stack, Path(task["folder"]), task["per"], chosen.tasks)
        flows = stack.enter_context((Path(task["folder"]) / FLOWS).open("w", encoding="utf-8"))
        try:
            for piece in _pieces(chosen, sources, problems, task, report_progress):
                check(budget, task)
                for row in tally.rows(piece):
                    tally.count(row)
                    shown = row if rename is None else pseudonymous(row, rename)
                    for writer in writers:
                        writer.write(shown)
                    if task["per"] == "flow":
                        flows.write(json.dumps(compact(shown, with_vpn(chosen.tasks))) + "\n")
        except MtcError:
            check(budget, task)
            raise
        for writer in writers:
            writer.finish()
    check(budget, task)
    return tally.to_dict(sources_of(task, [])[0], problems)


class Tally:
    """What is counted over all rows of a job."""

    def __init__(self, tasks: Tasks, *, over_time: bool) -> None:
        """Begin with no rows; ``over_time``: whether flows are those of ``FlowTable``, whose packets are
        found again for traffic over time."""
        self._tasks, self._over_time = tasks, over_time
        self._labels: dict[str, Counter[str]] = {task: Counter() for task in with_vpn(tasks)}
        self._bytes: dict[str, Counter[str]] = {task: Counter() for task in with_vpn(tasks)}
        self._confidence = {task: [0] * STEPS for task in with_vpn(tasks)}
        self._captures: dict[str, dict[str, Any]] = {}
        self._marks: dict[str, dict[str, list[str]]] = {}
        self._span = (np.iinfo(np.int64).max, 0)
        self._rows = 0

    def rows(self, piece: CaptureVerdicts | PacketVerdicts) -> Iterator[dict[str, Any]]:
        """The rows of a piece; the capture it comes from is noted."""
        if isinstance(piece, CaptureVerdicts):
            self._captures[piece.capture] = {
                "capture": piece.capture,
                "packets": piece.packets,
                "left_out": dict(piece.left_out),
                "flows": len(piece),
                "first_flow": piece.first_flow,
                "damage": piece.damage,
            }
            if len(piece):
                first, last = int(piece.flows.start.min()), int(piece.flows.end.max())
                self._span = (min(self._span[0], first), max(self._span[1], last))
        yield from piece

    def count(self, row: dict[str, Any]) -> None:
        """Count a row."""
        self._rows += 1
        marks = self._marks.setdefault(row["capture"], {task: [] for task in self._labels})
        for task in self._labels:
            label = NO_SAMPLE if row[task] is None else row[task]["label"]
            self._labels[task][label] += 1
            self._bytes[task][label] += row["bytes"]
            marks[task].append(label)
            if row[task] is not None:
                self._confidence[task][min(STEPS - 1, int(row[task]["confidence"] * STEPS))] += 1

    def to_dict(self, sources: list[Source], problems: list[str]) -> dict[str, Any]:
        """All that is known; captures are read a second time for traffic over time."""
        return {
            "rows": self._rows,
            "tasks": {task: list(labels) for task, labels in with_vpn(self._tasks).items()},
            "labels": {task: dict(counts.most_common()) for task, counts in self._labels.items()},
            "bytes": {task: dict(counts.most_common()) for task, counts in self._bytes.items()},
            "confidence": self._confidence,
            "captures": list(self._captures.values()),
            "problems": problems,
            "timeline": self._timeline(sources),
        }

    def _timeline(self, sources: list[Source]) -> dict[str, Any] | None:
        if self._span[1] == 0 or not self._over_time:
            return None
        timeline = Timeline(*self._span)
        for source in sources:
            if source.name in self._captures:
                marks = self._marks.get(source.name, {})
                timeline.add(source, {task: _marks(labels) for task, labels in marks.items()}, True)
        return timeline.to_dict()


def _marks(labels: list[str]) -> Marks:
    names, places = np.unique(np.array(labels), return_inverse=True)
    return tuple(map(str, names)), places.astype(np.int64)


def _pieces(
    chosen: Classifier,
    sources: list[Source],
    problems: list[str],
    task: dict[str, Any],
    progress: Callable[[Source, int], None],
) -> Iterator[CaptureVerdicts | PacketVerdicts]:
    settings = VerdictSettings(reject=task["reject"])
    if task["per"] == "packet":
        return chosen.classify_packets(sources, problems, settings=settings, progress=progress)
    return chosen.classify_sources(sources, problems, settings=settings, progress=progress)


def _writers(stack: ExitStack, folder: Path, per: str, tasks: Tasks) -> list[Writer]:
    """A file of each format, open until the ``stack`` is left."""
    schema = RowSchema.of(columns.PACKET, tasks) if per == "packet" else flow_schema(tasks)
    lines, table = (
        stack.enter_context((folder / FILES[name]).open("w", encoding="utf-8")) for name in ("json", "csv")
    )
    return [
        JsonWriter(lines),
        CsvWriter(table, schema),
        ParquetWriter(folder / FILES["parquet"], schema),
    ]


def _progress(sources: list[Source], report: Report) -> Callable[[Source, int], None]:
    """A function that reports how far reading is, but not too often."""
    sizes = {s.name: s.path.stat().st_size for s in sources if s.path is not None and s.member is None}
    done: dict[str, int] = {}
    last = 0.0

    def show(source: Source, read: int) -> None:
        nonlocal last
        done[source.name] = done.get(source.name, 0) + read
        sizes[source.name] = max(sizes.get(source.name, 0), done[source.name])
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            report({"progress": {"read": sum(done.values()), "size": sum(sizes.values())}})

    return show


Rename = Callable[[str], str]

SHORT_FIELDS = (
    "flow",
    "capture",
    "protocol",
    "src",
    "src_port",
    "dst",
    "dst_port",
    "start",
    "end",
    "packets",
    "bytes",
    "samples",
    "conflict",
)


def compact(row: dict[str, Any], judged: Tasks) -> dict[str, Any]:
    """A row with label and confidence of each task, and without the other probabilities."""
    short = {name: row.get(name) for name in SHORT_FIELDS}
    for task in judged:
        found = row[task]
        short[task] = None if found is None else {key: found[key] for key in ("label", "confidence")}
    return short


def pseudonymous(row: dict[str, Any], rename: Rename) -> dict[str, Any]:
    """A row with pseudonyms for addresses, without names, and the community id of the pseudonyms.

    The real one would give the addresses away: it can be computed for every address there is.
    """
    row = {**row, "src": rename(row["src"]), "dst": rename(row["dst"])}
    if "server_name" in row:
        row |= {"server_name": None, "server_name_by": None}
    if row["community_id"] is None:
        return row
    tuples = communityid.FlowTuple
    make = {"tcp": tuples.make_tcp, "udp": tuples.make_udp, "sctp": tuples.make_sctp}[row["protocol"]]
    flow = make(row["src"], row["dst"], row["src_port"], row["dst_port"])
    row["community_id"] = str(communityid.CommunityID().calc(flow))
    return row


BINS = 120
NO_FLOW = "no flow"
"""What belongs to no flow: ARP, ICMP and the like."""


@dataclass(slots=True)
class Timeline:
    """Bytes by time and class of each task.

    Attributes:
        start: Time of the first stretch, ns since the epoch.
        end: Time at which the last one ends.
        counts: Task -> class -> float64 (BINS,), bytes.
    """

    start: int
    end: int
    counts: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, source: Source, marks: dict[str, Marks], decapsulate: bool) -> None:
        """Count the packets of a capture, whose flows have got their ``marks`` by task."""
        width = max(1, -(-(self.end - self.start + 1) // BINS))
        with SampleStream(source, decapsulate=decapsulate, build=False) as stream:
            for _ in stream:
                batch, flows = stream.batch, stream.batch_flows
                if batch is None or flows is None or not len(batch):
                    continue
                place = np.clip((batch.timestamps - self.start) // width, 0, BINS - 1)
                sizes = batch.wirelens.astype(np.float64)
                for task, (names, mark) in marks.items():
                    known = flows < len(mark)
                    classes = np.where(known & (flows >= 0), mark[np.where(known, flows, 0)], len(names))
                    self._count(task, (*names, NO_FLOW), classes, place, sizes)

    def _count(
        self,
        task: str,
        names: tuple[str, ...],
        classes: NDArray[np.int64],
        place: NDArray[np.int64],
        sizes: NDArray[np.float64],
    ) -> None:
        flat = np.bincount(classes * BINS + place, weights=sizes, minlength=len(names) * BINS)
        for name, row in zip(names, flat.reshape(-1, BINS), strict=True):
            if row.any():
                counts = self.counts.setdefault(task, {})
                counts[name] = counts.get(name, np.zeros(BINS)) + row

    def to_dict(self) -> dict[str, Any]:
        """``start`` and ``step`` in seconds, and bytes by task and class."""
        width = max(1, -(-(self.end - self.start + 1) // BINS))
        return {
            "start": self.start / 1e9,
            "step": width / 1e9,
            "bytes": {
                task: {name: [int(n) for n in row] for name, row in rows.items()}
                for task, rows in self.counts.items()
            },
        }
