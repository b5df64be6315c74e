"""From labelled captures to a dataset folder that appears only when it is whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

import mtc
from mtc.datasets.build import describe
from mtc.datasets.build.assemble import Written, write_dataset
from mtc.datasets.build.selection import ChosenRows, Staged, choose_rows
from mtc.datasets.draws import ALGORITHM
from mtc.datasets.info import FORMAT_VERSION, DatasetInfo, FileInfo, SourceReport
from mtc.datasets.layout import PACKETS_FILE, ROW_GROUP_ROWS
from mtc.datasets.build.folder import building
from mtc.datasets.build.tasks import Progress, read_sources
from mtc.datasets.splits.splits import FOLDS, SplitPlan, check_folds, plan_splits
from mtc.datasets.build.stage_tasks import FLOWS, ROWS, StageTask, staged_capture
from mtc.datasets.build.staging import LabelledCapture, RowKind
from mtc.errors import DatasetError, UsageError
from mtc.parallel import Backend, Workers
from mtc.tasks import Tasks, check_task_names


@dataclass(frozen=True)
class BuildPlan:
    """What a dataset is to be built from, and how."""

    name: str
    """What the dataset is called."""
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
        UsageError: Ray is asked for and cannot be used.
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
        # A file tells more than the folder in which nothing was found.
        told = [f"{file}: {failures[file]}" for file in sorted(failures, key=lambda f: -f.count("/"))[:1]]
        more = [f"and {len(failures) - 1:,} more"] if len(failures) > 1 else []
        reason = f" ({', '.join(told + more)})" if told else ""
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
    """What ``dataset.json`` says."""
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
