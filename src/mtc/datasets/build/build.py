"""Builds a dataset folder from labelled captures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
import numpy as np
import pyarrow as pa
from mtc.datasets.arrow import binary_array, named, plain_array
from mtc.datasets.build.selection import ChosenRows
from mtc.datasets.layout import ContentHash
from mtc.datasets.info import FileInfo
from mtc.datasets.layout import ROW_GROUP_ROWS, schema, split_arrays, write_rows
from mtc.datasets.splits.splits import SplitPlan
from mtc.datasets.build.tally import SplitTally, Tally
from mtc.tasks import Tasks
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
import pyarrow as pa
import mtc
from mtc.datasets.build import describe
from mtc.datasets.build.selection import ChosenRows, Staged, choose_rows
from mtc.datasets.ragged import ALGORITHM
from mtc.datasets.info import FORMAT_VERSION, DatasetInfo, FileInfo, SourceReport
from mtc.datasets.layout import PACKETS_FILE, ROW_GROUP_ROWS
from mtc.datasets.build.folder import building
from mtc.datasets.build.tasks import Progress, read_sources
from mtc.datasets.splits.splits import FOLDS, SplitPlan, check_folds, plan_splits
from mtc.datasets.build.staging import LabelledCapture, RowKind
from mtc.errors import DatasetError, UsageError
from mtc.parallel import Backend, Workers
from mtc.tasks import Tasks, check_task_names
import dataclasses
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
import numpy as np
from mtc.datasets.build.tasks import BuildTask
from mtc.datasets.build.staging import LabelledCapture, StagedCapture, stage_capture
from mtc.errors import CaptureError
from mtc.parallel import Advance



@dataclass(frozen=True)
class Written:
    """What is known when all rows are written.

    Attributes:
        file: The Parquet file.
        content: Hash of the rows, without their splits.
        splits: Split -> what it came to.
    """

    file: FileInfo
    content: ContentHash
    splits: Mapping[str, SplitTally]


def write_dataset(path: Path, chosen: ChosenRows, tasks: Tasks, plan: SplitPlan) -> Written:
    """Write the Parquet file.

    Args:
        path: The file; further files without names lie beside it meanwhile.
        chosen: The rows.
        tasks: Task -> classes.
        plan: The splits.
    """
    columns = schema(tasks, plan.names)
    content = ContentHash()
    rows = int(chosen.all_rows.survey.rows.sum())
    with Tally(plan, chosen.kinds, rows, path.parent) as tally:
        file = write_rows(path, _tables(columns, chosen, tasks, plan, content, tally), columns)
        return Written(file, content, tally.count())


def _tables(
    columns: Any, chosen: ChosenRows, tasks: Tasks, plan: SplitPlan, content: ContentHash, tally: Tally
) -> Iterator[Any]:
    """A table for each row group."""
    groups = chosen.group_names
    names = [staged.capture.name for staged in chosen.captures]
    for block in chosen.blocks(ROW_GROUP_ROWS):
        rows = block.rows
        splits = plan.columns(rows)
        tally.add(rows, block.digests, splits)
        data = block.data[block.offsets[0] : block.offsets[-1]]
        codes = {task: chosen.labels[task][rows.kind] for task in tasks}
        content.update("sample", data)
        for name, values in {
            "lengths": np.diff(block.offsets),
            "time": rows.time,
            "flow": rows.flow,
            "packet": block.packet,
            **codes,
            "capture": rows.capture,
        }.items():
            content.update(name, values)
        yield pa.Table.from_arrays(
            [
                binary_array(data, block.offsets - block.offsets[0]),
                plain_array(rows.time),
                plain_array(rows.flow),
                named(rows.capture, names),
                plain_array(block.packet),
                *(named(codes[task], classes) for task, classes in tasks.items()),
                *(named(chosen.kinds.groups[name][rows.kind], values) for name, values in groups.items()),
                *split_arrays(splits),
            ],
            schema=columns,
        )



_LAYOUT = 4
"""Version of the staged files."""

ROWS, FLOWS = "arrow", "npy"
"""Endings of what is made: the possible rows, and the five-tuples, uint64 (flows, 6)."""


@dataclass(frozen=True)
class StageTask(BuildTask):
    """A capture to be staged, with all that decides what is staged of it."""

    capture: LabelledCapture
    seed: int
    limits: tuple[int | None, ...]
    """For each rule, how many samples the balance may keep of it, or None for all."""
    decapsulate: bool
    kind: RowKind = "packets"

    @property
    def name(self) -> str:
        """Name of the capture."""
        return self.capture.name

    @property
    def path(self) -> Path:
        """Its file, or the archive that it is in."""
        if self.capture.source.path is None:
            raise CaptureError(f"{self.capture.source.name}: only files can be made into a dataset")
        return self.capture.source.path

    @property
    def settings(self) -> Any:
        """Settings that the staged rows depend on."""
        rules = [[rule.text, any(rule.labels.values())] for rule in self.capture.rules]
        member = self.capture.source.member
        how = [self.seed, self.limits, self.decapsulate, self.kind, self.capture.scope]
        return [_LAYOUT, self.capture.name, member, *how, rules]

    @cached_property
    def work(self) -> int:
        """Size of a capture as it lies on disk; of a member of an archive, its size outside."""
        if self.capture.source.member is None:
            return super().work
        with zipfile.ZipFile(self.path) as archive:
            return archive.infolist()[self.capture.source.member].file_size

    def make(self, folder: Path, advance: Advance) -> Mapping[str, Any]:
        """Stage the capture; what cannot be read is staged as that."""
        try:
            with self.file(folder, ROWS) as rows, self.file(folder, FLOWS) as flows:
                read, keys = stage_capture(
                    self.capture,
                    rows,
                    seed=self.seed,
                    limits=self.limits,
                    decapsulate=self.decapsulate,
                    kind=self.kind,
                    progress=lambda name, count: advance(count),
                )
                with flows.open("wb") as file:
                    np.save(file, keys)
        except CaptureError as error:
            return {"unreadable": str(error).removeprefix(f"{self.capture.source.name}: ")}
        return dataclasses.asdict(read)


def staged_capture(values: Mapping[str, Any]) -> StagedCapture | str:
    """What was staged, of the result of a task: the capture, or why it cannot be read."""
    if "unreadable" in values:
        return str(values["unreadable"])
    rules = tuple((packets, samples) for packets, samples in values["rules"])
    return StagedCapture(**{**values, "link_types": tuple(values["link_types"]), "rules": rules})


@dataclass(frozen=True)
class BuildPlan:
    """Sources and settings of a build."""

    name: str
    """Name of the dataset."""
    tasks: Tasks
    captures: Sequence[LabelledCapture]
    files: Mapping[str, Path]
    """Files of the source by the name that reports give them; their sizes and hashes are recorded."""
    report: SourceReport
    balance_by: str
    """Task whose classes are capped."""
    stratify: tuple[str, ...]
    """Tasks whose combinations of labels the splits spread over their parts."""
    seed: int = 1
    cap: int | None = 50_000
    """Most packets of a class of ``balance_by``, half plain and half VPN; None for all."""
    folds: int = FOLDS
    """Folds of every split, or 0 for none."""
    kind: RowKind = "packets"
    """What a row is: a packet's sample, or a flow's sequence."""
    decapsulate: bool = True
    """Whether tunnels are peeled down to the innermost IP packet."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further settings to record."""

    def __post_init__(self) -> None:
        check_task_names(self.tasks)
        if self.cap is not None and self.cap < 1:
            raise UsageError(f"the cap must be at least 1 packet, not {self.cap}")
        if self.seed < 0:
            raise UsageError(f"the seed must not be negative, not {self.seed}")
        check_folds(self.folds)


def build_dataset(
    plan: BuildPlan,
    out: str | Path,
    *,
    force: bool = False,
    workers: int | None = 1,
    on: Backend = "local",
    progress: Progress | None = None,
) -> DatasetInfo:
    """Build a dataset folder; the same plan gives the same bytes, wherever captures are read.

    A build that was killed leaves the captures that it had staged in a hidden folder beside ``out``;
    started again, it goes on from there.

    Args:
        plan: What to build.
        out: The folder; it appears, or is replaced, when everything is written.
        force: Whether a dataset that is there already is replaced.
        workers: Processes that read captures; None for one per core, where there is enough to read.
        on: ``ray`` reads captures on a Ray cluster, and ``workers`` is how many at a time.
        progress: Called with the bytes read.

    Returns:
        What ``dataset.json`` says.

    Raises:
        DatasetError: Nothing could be read, or no packet is left by the filter.
        OutputError: ``out`` exists, or cannot be written.
        UsageError: Ray is requested and cannot be used.
    """
    where = Workers(workers, on)
    with building(out, force=force) as (work, finished):
        return _build(plan, work, finished, where, progress)


def _build(
    plan: BuildPlan, work: Path, folder: Path, workers: Workers, progress: Progress | None
) -> DatasetInfo:
    captures, unreadable, sources = _read(plan, work, workers, progress)
    if not captures:
        failures = {**unreadable, **plan.report.unreadable, **plan.report.unknown}
        # A file says more than the folder in which nothing was found.
        listed = [f"{file}: {failures[file]}" for file in sorted(failures, key=lambda f: -f.count("/"))[:1]]
        more = [f"and {len(failures) - 1:,} more"] if len(failures) > 1 else []
        reason = f" ({', '.join(listed + more)})" if listed else ""
        raise DatasetError(f"{plan.name}: no labelled capture could be read{reason}")
    chosen = choose_rows(
        captures, plan.tasks, balance_by=plan.balance_by, stratify=plan.stratify, cap=plan.cap
    )
    if not chosen.all_rows.survey.rows.any():
        raise DatasetError(f"{plan.name}: no packet of the captures is a sample")
    splits = plan_splits(chosen.all_rows, plan.seed, plan.folds)
    written = write_dataset(folder / PACKETS_FILE, chosen, plan.tasks, splits)
    report = replace(plan.report, unreadable={**plan.report.unreadable, **unreadable})
    info = _describe(plan, chosen, splits, written, report, sources)
    info.write(folder)
    return info


def _read(
    plan: BuildPlan, folder: Path, workers: Workers, progress: Progress | None
) -> tuple[list[Staged], dict[str, str], tuple[FileInfo, ...]]:
    """Read every capture and hash every file.

    Returns:
        What was staged; file -> reason for what could not be; and the files.
    """
    tasks = [
        StageTask(
            capture=capture,
            seed=plan.seed,
            limits=tuple(
                plan.cap if rule.labels.get(plan.balance_by) is not None else None for rule in capture.rules
            ),
            decapsulate=plan.decapsulate,
            kind=plan.kind,
        )
        for capture in plan.captures
    ]
    results, sources = read_sources(tasks, plan.files, folder, workers, progress)
    staged: list[Staged] = []
    unreadable: dict[str, str] = {}
    for task, result in zip(tasks, results, strict=True):
        read = staged_capture(result)
        if isinstance(read, str):
            unreadable[task.capture.file] = read
        else:
            staged.append(Staged(task.capture, read, task.made(folder, ROWS), task.made(folder, FLOWS)))
    return staged, unreadable, sources


def _describe(
    plan: BuildPlan,
    chosen: ChosenRows,
    splits: SplitPlan,
    written: Written,
    report: SourceReport,
    sources: tuple[FileInfo, ...],
) -> DatasetInfo:
    """The content of ``dataset.json``."""
    read = describe.describe_captures(chosen)
    counts = describe.count_classes(read, plan.tasks)
    settings = describe.plain_settings(
        seed=plan.seed,
        cap=plan.cap,
        balance_by=plan.balance_by,
        stratify=plan.stratify,
        folds=plan.folds,
        mask="paper" if plan.kind == "packets" else "nameless",
        decapsulate=plan.decapsulate,
        draws=ALGORITHM,
        row_group_rows=ROW_GROUP_ROWS,
        written_by=f"pyarrow {pa.__version__}",
        groups=chosen.group_names,
        **plan.settings,
    )
    return DatasetInfo(
        format_version=FORMAT_VERSION,
        kind=plan.kind,
        name=plan.name,
        mtc_version=mtc.__version__,
        hash=written.content.hexdigest(
            {
                "tasks": {task: list(classes) for task, classes in plan.tasks.items()},
                "captures": [staged.capture.name for staged in chosen.captures],
                # The seed decides which rows are test rows: a model may be tested on those it was not
                # trained on only where the seeds agree.
                "seed": plan.seed,
            }
        ),
        rows=int(chosen.all_rows.survey.rows.sum()),
        tasks={task: tuple(classes) for task, classes in plan.tasks.items()},
        settings=settings,
        files=(written.file,),
        sources=sources,
        captures=read,
        report=report,
        packets=sum(capture.packets for capture in read),
        left_out=describe.total_left_out(read),
        link_types=describe.total_link_types(read),
        counts=counts,
        absent=describe.absent_classes(counts),
        flows=describe.count_flows(chosen, plan.balance_by),
        splits=describe.describe_splits(written.splits, chosen.labels, plan.tasks, plan.seed, splits),
    )
