"""A dataset of your own captures, tasks and classes: one row of a CSV file a capture."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mtc.capture import Source, expand_inputs
from mtc.datasets.build import BuildPlan, build_dataset, check_target
from mtc.datasets.info import DatasetInfo, SourceReport
from mtc.datasets.processes import Progress
from mtc.datasets.splits import FOLDS
from mtc.datasets.staging import LabelledCapture
from mtc.errors import DatasetError
from mtc.tasks import check_task_names

CAPTURE_COLUMN = "capture"
VPN_COLUMN = "vpn"
_FLAGS = {"": None, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@dataclass
class _Found:
    """What the rows of a labels file lead to."""

    captures: dict[str, LabelledCapture] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)


def build_captures(
    labels: str | Path,
    out: str | Path,
    *,
    seed: int = 1,
    folds: int = FOLDS,
    cap: int | None = None,
    decapsulate: bool = True,
    force: bool = False,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> DatasetInfo:
    """Build a dataset from captures that a CSV file labels.

    The column ``capture`` names a capture, folder, zip or glob, relative to the file; ``vpn`` (0 or 1)
    may tell what the cap takes halves of; every other column is a task, its distinct values in order
    of appearance are the classes, and an empty cell is a missing label.

    Args:
        labels: The CSV file (UTF-8).
        out: The dataset folder to write.
        seed: Seed of the balance and of the splits.
        folds: Folds of every split (at least 3), or 0 for none.
        cap: Most packets a class of the first task; None for all.
        decapsulate: Whether tunnels are peeled.
        force: Whether a dataset that is there already is replaced.
        jobs: Processes that read captures; None for one a core, where there is enough to read.
        progress: Told the capture being read, the bytes read since the last call, and the bytes of all.

    Raises:
        DatasetError: The file is missing or wrong, or nothing could be read.
        UsageError: A column is named like a field of the output.
        OutputError: ``out`` exists, or cannot be written.
    """
    check_target(Path(out), force=force)
    path = Path(labels)
    tasks, rows = _read_labels(path)
    found = _Found()
    for place, pattern, row, vpn in rows:
        _collect(found, path.parent, place, pattern, row, vpn)
    plan = BuildPlan(
        name=path.stem,
        tasks=tasks,
        captures=sorted(found.captures.values(), key=lambda capture: capture.name),
        files=dict(sorted({**found.files, path.name: path}.items())),
        report=SourceReport(
            unknown=dict(sorted(found.unknown.items())),
            unlabelled=tuple(found.unlabelled),
            unreadable=dict(sorted(found.unreadable.items())),
            missing=tuple(found.missing),
        ),
        balance_by=next(iter(tasks)),
        stratify=tuple(tasks),
        seed=seed,
        folds=folds,
        cap=cap,
        decapsulate=decapsulate,
    )
    return build_dataset(plan, out, force=force, jobs=jobs, progress=progress)


_Row = tuple[str, str, dict[str, str | None], bool | None]


def _read_labels(path: Path) -> tuple[dict[str, tuple[str, ...]], list[_Row]]:
    """Tasks with their classes; and for each row its place, pattern, labels and VPN."""
    try:
        lines = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "not UTF-8 text").lower()
        raise DatasetError(f"{path}: {reason}") from error
    columns = [column.strip() for column in lines.fieldnames or ()]
    if CAPTURE_COLUMN not in columns:
        raise DatasetError(f"{path}: no column {CAPTURE_COLUMN!r}")
    if len(set(columns)) < len(columns):
        raise DatasetError(f"{path}: two columns of one name")
    names = [column for column in columns if column not in (CAPTURE_COLUMN, VPN_COLUMN)]
    if not names:
        raise DatasetError(f"{path}: no task (a column besides {CAPTURE_COLUMN!r} and {VPN_COLUMN!r})")
    check_task_names(names)
    classes: dict[str, dict[str, None]] = {name: {} for name in names}
    rows: list[_Row] = []
    for line in lines:
        place = f"{path}: line {lines.line_num}"
        if None in line:
            raise DatasetError(f"{place}: more cells than columns")
        cells = {key.strip(): (value or "").strip() for key, value in line.items()}
        if not cells[CAPTURE_COLUMN]:
            raise DatasetError(f"{place}: no capture")
        if cells.get(VPN_COLUMN, "").lower() not in _FLAGS:
            raise DatasetError(f"{place}: vpn must be 0 or 1, not {cells[VPN_COLUMN]!r}")
        labels = {name: cells[name] or None for name in names}
        for name, label in labels.items():
            if label is not None:
                classes[name].setdefault(label)
        rows.append((place, cells[CAPTURE_COLUMN], labels, _FLAGS[cells.get(VPN_COLUMN, "").lower()]))
    for name in names:
        if not classes[name]:
            raise DatasetError(f"{path}: no label in column {name!r}")
    return {name: tuple(classes[name]) for name in names}, rows


def _collect(
    found: _Found, root: Path, place: str, pattern: str, labels: dict[str, str | None], vpn: bool | None
) -> None:
    """Add the captures that one row leads to."""
    for source in _sources(found, root, pattern):
        file = _shown(source.name, root)
        if source.problem is not None:
            found.unreadable[file] = source.problem
            continue
        if not any(labels.values()):
            found.unlabelled.append(file)
            continue
        capture = LabelledCapture(file, file, source, labels, vpn)
        before = found.captures.setdefault(file, capture)
        if (before.labels, before.vpn) != (labels, vpn):
            raise DatasetError(f"{place}: {file} was labelled otherwise before")
        if source.path is not None:
            found.files.setdefault(_shown(str(source.path), root), source.path)


def _sources(found: _Found, root: Path, pattern: str) -> Iterator[Source]:
    paths = [root / pattern] if (root / pattern).exists() else _glob(root, pattern)
    if not paths:
        found.missing.append(pattern)

    def skip(name: str, reason: str) -> None:
        found.unknown[_shown(name, root)] = reason

    yield from expand_inputs(paths, on_skip=skip)


def _glob(root: Path, pattern: str) -> list[Path]:
    path = Path(pattern)
    base, relative = (Path(path.anchor), path.relative_to(path.anchor)) if path.anchor else (root, path)
    try:
        return sorted(base.glob(str(relative)))
    except ValueError as error:
        raise DatasetError(f"capture {pattern!r}: not a path or glob ({error})") from error


def _shown(name: str, root: Path) -> str:
    """A name relative to the labels file, so that it is the same on every machine."""
    path = Path(name)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
