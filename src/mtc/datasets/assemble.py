"""The second step of a build: from staged captures to rows, splits and the Parquet file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.datasets.balance import EVERY, SmallestDraws, quotas
from mtc.datasets.flows import number_flows
from mtc.datasets.identity import ContentHash
from mtc.datasets.layout import LABEL, binary_buffers, schema, write_rows
from mtc.datasets.splits import (
    PARTS,
    SPLITS,
    SplitRows,
    assign_folds,
    assign_parts,
    fold_names,
    parts_of_fold,
)
from mtc.datasets.staging import LabelledCapture, StagedCapture
from mtc.tasks import UNLABELLED, Tasks


@dataclass(frozen=True)
class Staged:
    """A capture with what was read of it, and where its possible rows lie."""

    capture: LabelledCapture
    read: StagedCapture
    file: Path

    def columns(self, *names: str) -> dict[str, NDArray[Any]]:
        """Columns other than ``sample``, of all staged rows."""
        with pa.memory_map(str(self.file)) as mapped:
            places = [pa.ipc.open_file(mapped).schema.get_field_index(name) for name in names]
            options = pa.ipc.IpcReadOptions(included_fields=places)
            table = pa.ipc.open_file(mapped, options=options).read_all()
            return {name: table[name].to_numpy().copy() for name in names}

    def batches(self) -> Iterator[Any]:
        """All columns, a bounded number of rows at a time."""
        with pa.memory_map(str(self.file)) as mapped:
            reader = pa.ipc.open_file(mapped)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)


@dataclass(frozen=True)
class KeptRows:
    """The rows of the dataset, in its order: captures by name, packets by number.

    Attributes:
        masks: For each capture, bool (staged rows,): which of its staged rows are kept.
        capture: int32 (N,), index of the capture.
        flow: int32 (N,), biflow over the whole dataset.
        time: int64 (N,), nanoseconds since the Unix epoch.
        draws: uint64 (N,), as staged.
        digests: uint64 (N,), as staged.
        labels: Task -> int64 (N,).
        rule: int16 (N,), which of its capture's rules labels each row.
        flow_ids: For each capture, int32 (its flows,): id over the dataset.
        flows: Biflows of all packets read.
    """

    masks: list[NDArray[np.bool_]]
    capture: NDArray[np.int32]
    flow: NDArray[np.int32]
    time: NDArray[np.int64]
    draws: NDArray[np.uint64]
    digests: NDArray[np.uint64]
    labels: dict[str, NDArray[np.int64]]
    rule: NDArray[np.int16]
    flow_ids: list[NDArray[np.int32]]
    flows: int

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.capture)

    def split_rows(self, stratify: Sequence[str]) -> SplitRows:
        """What splits look at; the classes of the tasks ``stratify`` are spread over the parts."""
        return SplitRows(
            flow=self.flow,
            capture=self.capture,
            time=self.time,
            draws=self.draws,
            labels={task: self.labels[task] for task in stratify},
        )


def label_codes(captures: Sequence[Staged], task: str, classes: tuple[str, ...]) -> list[NDArray[np.int64]]:
    """For each capture int64 (its rules,): index of the class of each rule for a task, or UNLABELLED."""
    places: dict[str | None, int] = {None: UNLABELLED, **{label: i for i, label in enumerate(classes)}}
    return [
        np.array([places[rule.labels.get(task)] for rule in staged.capture.rules], np.int64)
        for staged in captures
    ]


def choose_rows(captures: Sequence[Staged], tasks: Tasks, *, balance_by: str, cap: int | None) -> KeptRows:
    """Choose the rows that the balance keeps, and number their flows.

    Args:
        captures: What was staged, in the order of the dataset.
        tasks: Task -> classes.
        balance_by: The task whose classes are capped; rows without a label of it are all kept.
        cap: Most rows of a class, or None.
    """
    codes = {task: label_codes(captures, task, classes) for task, classes in tasks.items()}
    thresholds = _thresholds(captures, codes[balance_by], cap)
    ids, flows = number_flows([staged.read.flow_keys for staged in captures])
    masks: list[NDArray[np.bool_]] = []
    columns: dict[str, list[NDArray[Any]]] = {
        "capture": [],
        "flow": [],
        "time": [],
        "rule": [],
        "draw": [],
        "digest": [],
    }
    labels: dict[str, list[NDArray[np.int64]]] = {task: [np.empty(0, np.int64)] for task in tasks}
    for i, staged in enumerate(captures):
        read = staged.columns("flow", "time", "rule", "draw", "digest")
        mask = read["draw"] <= thresholds[i][read["rule"]]
        masks.append(mask)
        columns["capture"].append(np.full(int(mask.sum()), i, np.int32))
        columns["flow"].append(ids[i][read["flow"][mask]])
        for name in ("time", "rule", "draw", "digest"):
            columns[name].append(read[name][mask])
        for task, code in codes.items():
            labels[task].append(code[i][read["rule"][mask]])
    joined = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    return KeptRows(
        masks=masks,
        capture=joined["capture"],
        flow=joined["flow"],
        time=joined["time"],
        draws=joined["draw"],
        digests=joined["digest"],
        labels={task: np.concatenate(pieces) for task, pieces in labels.items()},
        rule=joined["rule"],
        flow_ids=ids,
        flows=flows,
    )


def _thresholds(
    captures: Sequence[Staged], codes: Sequence[NDArray[np.int64]], cap: int | None
) -> list[NDArray[np.uint64]]:
    """For each capture uint64 (its rules,): the draw up to which samples of each rule are kept."""
    bars = [np.full(len(staged.capture.rules), EVERY) for staged in captures]
    if cap is None:
        return bars
    groups: dict[tuple[int, bool], SmallestDraws] = {}
    samples: dict[tuple[int, bool], int] = {}
    members: dict[tuple[int, bool], list[tuple[int, int]]] = {}
    for i, staged in enumerate(captures):
        read = staged.columns("rule", "draw")
        for r, rule in enumerate(staged.capture.rules):
            group = (int(codes[i][r]), bool(rule.vpn))
            samples[group] = samples.get(group, 0) + staged.read.rules[r][1]
            members.setdefault(group, []).append((i, r))
            if group[0] != UNLABELLED:
                groups.setdefault(group, SmallestDraws(cap)).offer(read["draw"][read["rule"] == r])
    for code, vpn in groups:
        kept = quotas(samples.get((code, False), 0), samples.get((code, True), 0), cap)[vpn]
        # A threshold of the group's own count keeps all: staging kept at least the cap's smallest.
        everything = kept == samples[code, vpn]
        bar = EVERY if everything else groups[code, vpn].threshold(kept)
        for i, r in members[code, vpn]:
            bars[i][r] = bar
    return bars


@dataclass(frozen=True)
class SplitColumns:
    """Every split of the rows.

    Attributes:
        parts: Split -> uint8 (N,), index into ``PARTS``.
        folds: Split -> uint8 (N,), fold from 1; 0 is trained on in every fold.
        count: How many folds there are, or 0.
    """

    parts: dict[str, NDArray[np.uint8]]
    folds: dict[str, NDArray[np.uint8]]
    count: int

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name and parts (N,) of every split, and of the splits that the folds stand for."""
        yield from self.parts.items()
        for name, fold_of_row in self.folds.items():
            for fold, split in enumerate(fold_names(name, self.count), start=1):
                yield split, parts_of_fold(fold_of_row, fold, self.count)


def split_all(rows: SplitRows, seed: int, folds: int) -> SplitColumns:
    """Make every split that there is.

    Args:
        rows: The rows.
        seed: Seed of the splits.
        folds: Folds of each, or 0 for none.
    """
    return SplitColumns(
        parts={name: assign_parts(name, rows, seed) for name in SPLITS},
        folds={name: assign_folds(name, rows, seed, folds) for name in SPLITS} if folds else {},
        count=folds,
    )


def write_dataset(
    path: Path, captures: Sequence[Staged], rows: KeptRows, tasks: Tasks, splits: SplitColumns
) -> ContentHash:
    """Write the Parquet file; returns the hash of the rows, without their splits."""
    columns = schema(tasks, (name for name, _ in splits))
    content = ContentHash()
    write_rows(path, _tables(columns, captures, rows, tasks, splits, content), columns)
    return content


def _tables(
    columns: Any,
    captures: Sequence[Staged],
    rows: KeptRows,
    tasks: Tasks,
    splits: SplitColumns,
    content: ContentHash,
) -> Iterator[Any]:
    names = [staged.capture.name for staged in captures]
    row = 0
    for staged, mask, ids in zip(captures, rows.masks, rows.flow_ids, strict=True):
        first = 0
        for batch in staged.batches():
            kept = batch.filter(pa.array(mask[first : first + batch.num_rows]))
            first += batch.num_rows
            here = slice(row, row + kept.num_rows)
            row += kept.num_rows
            data, offsets = binary_buffers(kept["sample"])
            plain = {"time": kept["time"].to_numpy(), "flow": ids[kept["flow"].to_numpy()]}
            codes: dict[str, NDArray[Any]] = {task: rows.labels[task][here] for task in tasks}
            codes["capture"] = rows.capture[here]
            packet = kept["packet"].to_numpy()
            content.update("sample", data[offsets[0] : offsets[-1]])
            for name, values in {"lengths": np.diff(offsets), **plain, "packet": packet, **codes}.items():
                content.update(name, values)
            yield pa.Table.from_arrays(
                [
                    kept["sample"],
                    *(pa.array(values) for values in plain.values()),
                    _named(codes["capture"], names),
                    kept["packet"],
                    *(_named(codes[task], classes) for task, classes in tasks.items()),
                    *(_named(part[here], PARTS) for part in splits.parts.values()),
                    *(pa.array(fold[here].astype(np.int8)) for fold in splits.folds.values()),
                ],
                schema=columns,
            )


def _named(codes: NDArray[Any], names: Sequence[str]) -> Any:
    """A dictionary column; UNLABELLED becomes null."""
    indices = pa.array(codes.astype(np.int32), mask=codes.astype(np.int64) == UNLABELLED)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string())).cast(LABEL)
