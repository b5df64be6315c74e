"""The ``dataset.json`` of a build of CICIDS2017."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import mtc
from mtc.datasets.build import describe
from mtc.datasets.cicids2017.labels import BALANCED, DOWNLOAD, IMBALANCED, LABELS, classes_of
from mtc.datasets.cicids2017.rows import DatasetRows, singles
from mtc.datasets.cicids2017.splits import describe_splits
from mtc.datasets.cicids2017.staging import StagedRows
from mtc.datasets.flow_features import balance as features_balance
from mtc.datasets.flow_features.features import FEATURES, SELECTED
from mtc.datasets.flow_features.selection import FeatureSelection
from mtc.datasets.info import (
    FORMAT_VERSION,
    CaptureInfo,
    ClassCounts,
    ClassRows,
    DatasetInfo,
    FeatureInfo,
    FileInfo,
    FlowCounts,
    Repeats,
    SourceReport,
)
from mtc.datasets.layout import ROW_GROUP_ROWS, ContentHash
from mtc.datasets.ragged import ALGORITHM
from mtc.datasets.splits.splits import OUTSIDE, PARTS
from mtc.tasks import INFILTRATION, Tasks

NAME = "cicids2017"


def describe_build(
    staged: StagedRows,
    rows: DatasetRows,
    tasks: Tasks,
    settings: Mapping[str, Any],
    report: SourceReport,
    files: tuple[FileInfo, ...],
    content: ContentHash,
    selection: FeatureSelection,
) -> DatasetInfo:
    """Put together what was counted; ``files`` are the dataset's own and then those of the source."""
    tables = tuple(_table(staged, rows, i) for i in range(len(staged.tables)))
    counts = _counts(staged, rows, tasks)
    made = rows.synthetic
    return DatasetInfo(
        format_version=FORMAT_VERSION,
        kind="features",
        name=NAME,
        mtc_version=mtc.__version__,
        hash=content.hexdigest(
            {
                "tasks": {task: list(classes) for task, classes in tasks.items()},
                "captures": [table.name for table in staged.tables],
                "features": list(FEATURES),
                "seed": settings["seed"],
            }
        ),
        rows=len(rows),
        tasks={task: tuple(classes) for task, classes in tasks.items()},
        settings=describe.plain_settings(
            **settings,
            balance=features_balance.ALGORITHM,
            neighbours=features_balance.NEIGHBOURS,
            draws=ALGORITHM,
            row_group_rows=ROW_GROUP_ROWS,
            written_by=f"pyarrow {pa.__version__}",
        ),
        files=files[:1],
        sources=files[1:],
        captures=tables,
        report=report,
        packets=sum(table.packets for table in tables),
        left_out=describe.total_left_out(tables),
        link_types={},
        counts=counts,
        absent=describe.absent_classes(counts),
        flows=FlowCounts(0, 0, 0, 0),
        splits=describe_splits(rows, rows.splits, tasks, int(settings["seed"])),
        features=FeatureInfo(
            names=FEATURES,
            selected=SELECTED,
            selection=selection,
            labels=staged.labels,
            unknown_labels=staged.unknown_labels,
            classes=_classes(staged, rows, tasks),
            repeats=_repeats(staged, rows, next(iter(tasks))),
            synthesised=int(made.sum()),
            balanced_splits=tuple(name for name, _ in rows.splits if name.partition("/")[0] == "paper"),
            complete=staged.labels == dict(DOWNLOAD),
            convention=str(settings.get("convention", "cicids2017")),
        ),
    )


def _table(staged: StagedRows, rows: DatasetRows, place: int) -> CaptureInfo:
    table, mine = staged.tables[place], staged.table == place
    left_out = Counter(table.left_out)
    left_out.update({reason: int((mask & mine).sum()) for reason, mask in rows.left_out.items()})
    return CaptureInfo(
        capture=table.name,
        file=table.file,
        format=table.format,
        link_types=(),
        labels={},
        vpn=None,
        packets=table.rows,
        samples=int(mine.sum()),
        kept=int((mine & rows.kept).sum()),
        left_out={reason: n for reason, n in sorted(left_out.items()) if n},
        flows=0,
        damage=table.damage,
    )


def _counts(staged: StagedRows, rows: DatasetRows, tasks: Tasks) -> dict[str, dict[str, ClassCounts]]:
    """Task -> label -> rows after each step."""
    read = np.array([staged.labels[label] for label in LABELS])
    finite = np.bincount(staged.label, minlength=len(LABELS))
    kept = np.bincount(staged.label[rows.kept], minlength=len(LABELS))
    unlabelled = sum(table.rows for table in staged.tables) - int(read.sum())
    counts: dict[str, dict[str, ClassCounts]] = {}
    for task, classes in tasks.items():
        class_of = [classes_of(label)[task] for label in LABELS]
        counts[task] = {}
        for name in (*classes, describe.NO_LABEL):
            # Infiltration is counted with what has no label where it is no class.
            mine = np.array([(c if c in classes else describe.NO_LABEL) == name for c in class_of])
            extra = unlabelled if name == describe.NO_LABEL else 0
            counts[task][name] = ClassCounts(
                int(read[mine].sum()) + extra, int(finite[mine].sum()), int(kept[mine].sum())
            )
    return counts


def _classes(staged: StagedRows, rows: DatasetRows, tasks: Tasks) -> dict[str, ClassRows]:
    """Attack class -> rows after each step, beside Table 2's."""
    task = next(iter(tasks))
    names = tuple(dict.fromkeys((*tasks[task], INFILTRATION)))
    place = np.array([names.index(classes_of(label)["attack"]) for label in LABELS])
    codes = place[staged.label]

    def by_class(chosen: NDArray[Any]) -> list[int]:
        counted: list[int] = np.bincount(codes[chosen], minlength=len(names)).tolist()
        return counted

    read = np.bincount(place, weights=[staged.labels[label] for label in LABELS], minlength=len(names))
    finite = by_class(np.arange(len(staged)))
    distinct = by_class(np.unique(staged.digest, return_index=True)[1])
    single, kept = by_class(singles(staged.digest)), by_class(rows.kept)
    paper, labels = rows.splits.parts["paper"], rows.labels[task]

    def of_rows(chosen: NDArray[np.bool_]) -> list[int]:
        counted: list[int] = np.bincount(labels[chosen], minlength=len(names)).tolist()
        return counted

    balanced, made = of_rows(paper != OUTSIDE), of_rows(rows.synthetic)
    tested = of_rows(rows.synthetic & (paper == PARTS.index("test")))
    return {
        name: ClassRows(
            read=int(read[i]),
            finite=finite[i],
            distinct=distinct[i],
            single=single[i],
            kept=kept[i],
            table2_imbalanced=IMBALANCED.get(name),
            table2_balanced=BALANCED.get(name),
            balanced=balanced[i],
            synthesised=made[i],
            synthesised_test=tested[i],
        )
        for i, name in enumerate(names)
    }


def _repeats(staged: StagedRows, rows: DatasetRows, task: str) -> Repeats:
    read = ~rows.synthetic
    inputs, labels = rows.inputs[read], rows.labels[task][read].astype(np.uint64)
    distinct = len(np.unique(inputs))
    pairs = np.unique(np.column_stack([inputs, labels]), axis=0)[:, 0]
    return Repeats(
        repeated_rows=staged.repeated,
        repeated_inputs=len(inputs) - distinct,
        inputs_under_different_labels=int((np.unique(pairs, return_counts=True)[1] > 1).sum()),
    )
