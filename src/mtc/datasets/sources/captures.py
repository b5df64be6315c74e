"""A dataset of your own captures, tasks and classes: by rows of a CSV file, or by folders."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mtc.capture import Source, expand_inputs
from mtc.datasets.build.build import BuildPlan, build_dataset
from mtc.datasets.build.folder import check_target
from mtc.datasets.build.rules import FILTER_COLUMNS, FlowWindows, PacketFilter, Rule
from mtc.datasets.build.staging import LabelledCapture, RowKind
from mtc.datasets.build.tasks import Progress
from mtc.datasets.flow_features.dialect import decode_text, find_separator
from mtc.datasets.info import DatasetInfo, SourceReport
from mtc.datasets.splits.splits import FOLDS
from mtc.errors import DatasetError, UsageError
from mtc.files import display_name
from mtc.parallel import Backend
from mtc.tasks import check_task_names

CAPTURE_COLUMN = "capture"
VPN_COLUMN = "vpn"
GROUP_COLUMNS = ("evidence", "name", "host")
"""Columns that ``mtc label`` writes beside the labels: no tasks unless they are named."""
FOLDER_TASK = "label"
"""The task of a folder for each class."""
Classes = dict[str, tuple[str, ...]]
"""Task -> its classes."""
_FLAGS = {"": None, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@dataclass
class _Found:
    """Result of reading a labels file."""

    captures: dict[str, tuple[Source, list[Rule]]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)

    def in_order(self, kind: RowKind) -> list[LabelledCapture]:
        """The captures by name, for rows of a kind."""
        return [
            LabelledCapture(file, file, source, merged_flows(rules), _scope(file, rules, kind))
            for file, (source, rules) in sorted(self.captures.items())
        ]

    def report(self) -> SourceReport:
        """Captures that are not used, or missing."""
        return SourceReport(
            unknown=dict(sorted(self.unknown.items())),
            unlabelled=tuple(self.unlabelled),
            unreadable=dict(sorted(self.unreadable.items())),
            missing=tuple(self.missing),
        )


def build_captures(
    labels: str | Path,
    out: str | Path,
    *,
    kind: RowKind = "packets",
    tasks: Sequence[str] = (),
    seed: int = 1,
    folds: int = FOLDS,
    cap: int | None = None,
    decapsulate: bool = True,
    force: bool = False,
    workers: int | None = 1,
    on: Backend = "local",
    progress: Progress | None = None,
) -> DatasetInfo:
    """Build a dataset from captures that a CSV file labels, or the folders that they lie in.

    The column ``capture`` names a capture, folder, zip or glob, relative to the file; ``vpn`` (0 or 1)
    may say what the cap takes halves of; every other column is a task, its distinct values in order
    of appearance are the classes, and an empty cell is a missing label. The columns ``FILTER_COLUMNS``
    choose packets of a capture; the first row that chooses a packet labels it.

    Columns that are no tasks and no numbers are groups: for each there are the splits ``group:COLUMN`` and
    ``leave-one-out:COLUMN``. The same five-tuple in captures of different labels is not one flow, and of
    flow sequences none in different captures is: an address and a port may be used again.

    Args:
        labels: The CSV file (UTF-8), or a folder (or zip) with a folder for each class of one task.
        out: The dataset folder to write.
        kind: What a row is: a packet's sample, or the sequence of a flow's first packets.
        tasks: Columns that are tasks; all but ``GROUP_COLUMNS`` where none is named.
        seed: Seed of the balance and of the splits.
        folds: Folds of every split (at least 3), or 0 for none.
        cap: Most packets a class of the first task; None for all.
        decapsulate: Whether tunnels are peeled.
        force: Whether a dataset that is there already is replaced.
        workers: Processes that read captures; None for one per core, where there is enough to read.
        on: ``ray`` reads captures on a Ray cluster.
        progress: Called with the capture being read, the bytes read since the last call, and all bytes.

    Raises:
        DatasetError: The file is missing or wrong, or nothing could be read.
        UsageError: A column is named like a field of the output.
        OutputError: ``out`` exists, or cannot be written.
    """
    check_target(Path(out), force=force)
    path = Path(labels)
    found = _Found()
    classes = _look_through(path, found, tasks)
    plan = BuildPlan(
        name=display_name(path.stem),
        tasks=classes,
        captures=found.in_order(kind),
        kind=kind,
        files=dict(sorted(found.files.items())),
        report=found.report(),
        balance_by=next(iter(classes)),
        stratify=tuple(classes),
        seed=seed,
        folds=folds,
        cap=cap,
        decapsulate=decapsulate,
    )
    return build_dataset(plan, out, force=force, workers=workers, on=on, progress=progress)


def _look_through(path: Path, found: _Found, wanted: Sequence[str]) -> Classes:
    """Collect what a labels file, or a folder of folders, leads to; returns the tasks."""
    if path.is_dir() or path.suffix.lower() == ".zip":
        if wanted and tuple(wanted) != (FOLDER_TASK,):
            raise UsageError(f"{path}: folders have one task, {FOLDER_TASK}")
        return _read_folders(path, found)
    tasks, rows = _read_labels(path, wanted)
    for place, pattern, rule in rows:
        _collect(found, path.parent, place, pattern, rule)
    found.files[display_name(path.name)] = path
    return tasks


def _read_labels(path: Path, wanted: Sequence[str]) -> tuple[Classes, list[tuple[str, str, Rule]]]:
    """Tasks with their classes; and for each row its place, its pattern, and what it says."""
    try:
        text = decode_text(path.read_bytes())
        separator = find_separator(text.strip().partition("\n")[0], _known)
        # Any line end is read as one outside quotes; inside, the text stays as it is.
        lines = csv.DictReader(io.StringIO(text, newline=None), delimiter=separator)
        columns = [column.strip() for column in lines.fieldnames or ()]
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "neither UTF-8 nor UTF-16 text").lower()
        raise DatasetError(f"{path}: {reason}") from error
    except csv.Error as error:
        raise DatasetError(f"{path}: not a table of labels ({error})") from error
    if CAPTURE_COLUMN not in columns:
        raise DatasetError(f"{path}: no column {CAPTURE_COLUMN!r}")
    if len(set(columns)) < len(columns):
        raise DatasetError(f"{path}: two columns of one name")
    free = [c for c in columns if c not in (CAPTURE_COLUMN, VPN_COLUMN, *FILTER_COLUMNS)]
    if missing := [name for name in wanted if name not in free]:
        raise UsageError(f"{path}: no column {', '.join(missing)}; there are {', '.join(free) or 'none'}")
    names = list(wanted) or [column for column in free if column not in GROUP_COLUMNS]
    if not names:
        raise DatasetError(
            f"{path}: no task (a column besides {CAPTURE_COLUMN!r}, {VPN_COLUMN!r} and filters)"
        )
    check_task_names(names)
    rows: list[tuple[str, str, Rule]] = []
    others: list[dict[str, str]] = []
    for line in _read_lines(path, lines):
        place = f"{path}: line {lines.line_num}"
        if None in line:
            raise DatasetError(f"{place}: more cells than columns")
        cells = {key.strip(): (value or "").strip() for key, value in line.items()}
        if not cells[CAPTURE_COLUMN]:
            raise DatasetError(f"{place}: no capture")
        rows.append((place, cells[CAPTURE_COLUMN], _rule(place, cells, names)))
        others.append({name: cells[name] for name in free if name not in names})
    numbers = {name for name in free if all(_is_number(cells.get(name, "")) for cells in others)}
    rows = [
        (place, pattern, replace(rule, groups={n: v for n, v in cells.items() if v and n not in numbers}))
        for (place, pattern, rule), cells in zip(rows, others, strict=True)
    ]
    return {name: _classes(path, name, rows) for name in names}, rows


def _is_number(text: str) -> bool:
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def merged_flows(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Make one rule of those that each name a flow and say the same, so that many are matched at once.

    The first rule of a five-tuple goes before the later ones only among rules of the same labels.
    """
    merged: dict[Any, list[Rule]] = {}
    for place, rule in enumerate(rules):
        flow = rule.filter is not None and rule.filter.names_a_flow
        key = (tuple(rule.labels.items()), rule.vpn, tuple(rule.groups.items())) if flow else place
        merged.setdefault(key, []).append(rule)
    found = []
    for same in merged.values():
        filters = [rule.filter for rule in same if rule.filter is not None]
        if len(same) > 1:
            windows = PacketFilter(flows=FlowWindows.of(filters))
            found.append(replace(same[0], filter=windows, text={"flows": f"{len(same)}"}))
        else:
            found += same
    return tuple(found)


def _scope(file: str, rules: Sequence[Rule], kind: RowKind) -> str:
    """What flows of a capture are shared with: none of flow sequences, else captures of the same labels."""
    if kind == "flows":
        return file
    return "" if any(rule.filter is not None for rule in rules) else repr(sorted(rules[0].labels.items()))


def _known(names: Iterable[str]) -> int:
    return sum(name.strip() in (CAPTURE_COLUMN, VPN_COLUMN, *FILTER_COLUMNS) for name in names)


def _read_lines(path: Path, lines: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    """Yield the rows.

    Raises:
        DatasetError: A row is no CSV, such as one with a cell of more than 131,072 characters.
    """
    try:
        yield from lines
    except csv.Error as error:
        raise DatasetError(f"{path}: line {lines.line_num}: {error}") from error


def _classes(path: Path, name: str, rows: list[tuple[str, str, Rule]]) -> tuple[str, ...]:
    classes = tuple(dict.fromkeys(label for *_, rule in rows if (label := rule.labels[name]) is not None))
    if not classes:
        raise DatasetError(f"{path}: no label in column {name!r}")
    return classes


def _rule(place: str, cells: dict[str, str], names: list[str]) -> Rule:
    flag = cells.get(VPN_COLUMN, "").lower()
    if flag not in _FLAGS:
        raise DatasetError(f"{place}: vpn must be 0 or 1, not {cells[VPN_COLUMN]!r}")
    text = {column: cells[column] for column in FILTER_COLUMNS if cells.get(column)}
    try:
        packets = PacketFilter.parse(text) if text else None
    except ValueError as error:
        raise DatasetError(f"{place}: {error}") from error
    return Rule({name: cells[name] or None for name in names}, _FLAGS[flag], packets, text)


def _read_folders(path: Path, found: _Found) -> Classes:
    """One task, whose classes are the folders in ``path``, a folder or an archive."""
    labels = set()

    def skip(name: str, reason: str) -> None:
        found.unknown[_shown(name, path)] = reason

    for source in expand_inputs([path], on_skip=skip):
        file = _shown(source.name, path)
        label, slash, _ = file.partition("/")
        if source.problem is not None:
            raise DatasetError(f"{path}: {source.problem}")
        if not slash:
            found.unknown[file] = "a capture in no folder of a class"
            continue
        labels.add(label)
        found.captures[file] = (source, [Rule({FOLDER_TASK: label})])
        if source.path is not None:
            name = path.name if source.path == path else _shown(str(source.path), path)
            found.files[name] = source.path
    if not labels:
        raise DatasetError(f"{path}: no capture in a folder of a class")
    return {FOLDER_TASK: tuple(sorted(labels))}


def _collect(found: _Found, root: Path, place: str, pattern: str, rule: Rule) -> None:
    """Add the captures that one row leads to."""
    for source in _sources(found, root, pattern):
        file = _shown(source.name, root)
        if source.problem is not None:
            found.unreadable[file] = source.problem
            continue
        if rule.filter is None and not any(rule.labels.values()):
            found.unlabelled.append(file)
            continue
        before = found.captures.setdefault(file, (source, []))[1]
        if before and before[-1].filter is None:
            if before[-1] != rule:
                raise DatasetError(f"{place}: {file} was labelled otherwise before")
            continue
        before.append(rule)
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
    path, root = Path(display_name(name)), Path(display_name(str(root)))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
