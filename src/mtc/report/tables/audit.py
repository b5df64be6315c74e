"""The tables of an audit, from ``audit.json`` (docs/audit.md has its layout)."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtc.report.groups import HEADINGS, slug
from mtc.report.tables.table import Cell, Column, Percent, Table

Audit = Mapping[str, Any]
"""The content of ``audit.json``."""


def audit_name(audit: Audit, name: str) -> str:
    """Name of an audit: that of its dataset."""
    return str((audit.get("dataset") or {}).get("name") or name)


def audit_tasks(audit: Audit) -> tuple[str, ...]:
    """Tasks of the audited dataset."""
    return tuple((audit.get("dataset") or {}).get("tasks") or {})


def audit_tables(audit: Audit, name: str) -> list[Table]:
    """All tables that an audit has content for."""
    dataset = audit_name(audit, name)
    tables = [
        _splits(audit, dataset), _fields(audit, dataset), _scores(audit, dataset), _gap(audit, dataset),
        _occlusion(audit, dataset),
    ]  # fmt: skip
    return [table for table in tables if table.rows]


def _splits(audit: Audit, dataset: str) -> Table:
    kinds = list(
        dict.fromkeys(kind for split in _parts(audit).values() for kind in split.get("duplicates") or {})
    )
    shares = [("flows", "flows"), ("captures", "captures"), ("port_pairs", "port pairs")]
    columns = [Column("split")]
    columns += [Column(f"{part} rows", numbers=True) for part in ("train", "validation", "test")]
    columns += [Column(f"shared {plural}", numbers=True) for _, plural in shares]
    columns += [Column(f"test rows with trained {plural} (%)", numbers=True) for _, plural in shares]
    columns += [Column(f"test rows with {kind} duplicates (%)", numbers=True) for kind in kinds]
    columns += [Column("leaks")]
    rows: list[list[Cell]] = []
    for split, found in _parts(audit).items():
        duplicates = found.get("duplicates") or {}
        rows.append(
            [
                split,
                *((found.get("rows") or {}).get(part) for part in ("train", "validation", "test")),
                *((found.get(key) or {}).get("shared") for key, _ in shares),
                *(_percent((found.get(key) or {}).get("share")) for key, _ in shares),
                *(_percent((duplicates.get(kind) or {}).get("share")) for kind in kinds),
                "yes" if found.get("leaks") else "no",
            ]
        )
    return Table(
        f"audit-splits-{slug(dataset)}",
        f"What the parts of each split share: {dataset}",
        columns,
        rows,
        "Shared: in several parts. A duplicate: a row of the test part that equals one of the training part.",
    )


def _fields(audit: Audit, dataset: str) -> Table:
    tasks = audit_tasks(audit)
    columns = [Column("field"), Column("identifies"), Column("rows", numbers=True)]
    for task in tasks:
        head = HEADINGS.get(task, task)
        columns += [Column(f"{head} {what}", numbers=True) for what in ("chance", "by packet", "by flow")]
        columns += [Column(f"{head} verdict")]
    rows: list[list[Cell]] = []
    for field in audit.get("fields") or ():
        row: list[Cell] = [field["field"], "yes" if field.get("identifying") else "no", field.get("rows")]
        for task in tasks:
            found = field["tasks"].get(task) or {}
            row += [_percent(found.get(key)) for key in ("chance", "by_packet", "by_flow")]
            row.append(found.get("verdict"))
        rows.append(row)
    return Table(
        f"audit-fields-{slug(dataset)}",
        f"What each field alone gives away: {dataset}",
        columns,
        rows,
        "Macro F1 in percent of a small tree on this field alone, cross-validated; chance: the same tree on "
        "a random number that each flow has for itself.",
    )


def _scores(audit: Audit, dataset: str) -> Table:
    tasks = audit_tasks(audit)
    columns = [Column("model"), Column("reads"), Column("split"), Column("mask")]
    columns += [Column(f"{part} rows", numbers=True) for part in ("train", "test")]
    columns += [
        Column(f"{HEADINGS.get(task, task)} {what}", numbers=True) for task in tasks for what in ("F1", "Rc")
    ]
    rows: list[list[Cell]] = []
    for row in audit.get("scores") or ():
        scores = [
            _percent((row["tasks"].get(task) or {}).get(name))
            for task in tasks
            for name in ("macro_f1", "macro_recall")
        ]
        about = [row.get(key) for key in ("model", "inputs", "split", "mask", "train_rows", "test_rows")]
        rows.append([*about, *scores])
    return Table(
        f"audit-shallow-{slug(dataset)}", f"A shallow model on every split and mask: {dataset}", columns, rows
    )


def _gap(audit: Audit, dataset: str) -> Table:
    keys = ("packet", "flow", "difference", "paper", "strict", "mask_difference")
    heads = (
        "split as the paper", "honest split", "difference", "mask paper", "mask strict", "difference of masks"
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [task, *(_percent(found.get(key)) for key in keys)]
        for task, found in (audit.get("gap") or {}).items()
        if found
    ]
    return Table(
        f"audit-gap-{slug(dataset)}",
        f"What a split and a mask are worth: {dataset}",
        [Column("task"), *(Column(head, numbers=True) for head in heads)],
        rows,
        "Macro F1 in percent of the shallow model.",
    )


def _occlusion(audit: Audit, dataset: str) -> Table:
    occlusion = audit.get("occlusion") or {}
    tasks = audit_tasks(audit)
    columns = [Column("hidden")]
    for task in tasks:
        columns += [Column(f"{HEADINGS.get(task, task)} {what}", numbers=True) for what in ("F1", "drop")]
    rows: list[list[Cell]] = []
    if occlusion:
        whole = [_percent((occlusion.get("whole") or {}).get(task)) for task in tasks]
        rows.append(["nothing", *(cell for score in whole for cell in (score, None))])
    for hidden in occlusion.get("hidden") or ():
        row: list[Cell] = [hidden["group"]]
        for task in tasks:
            found = hidden["tasks"].get(task) or {}
            row += [_percent(found.get("macro_f1")), _percent(found.get("drop"))]
        rows.append(row)
    return Table(
        f"audit-occlusion-{slug(dataset)}",
        f"What the verdicts of a trained model rest on: {dataset}",
        columns,
        rows,
        f"Macro F1 in percent of {occlusion.get('model')} on its {occlusion.get('part')} part, with bytes "
        "set to zero.",
    )


def _parts(audit: Audit) -> Mapping[str, Mapping[str, Any]]:
    return audit.get("splits") or {}


def _percent(value: float | None) -> Percent | None:
    return None if value is None else Percent(value)


def sentences(audit: Audit) -> tuple[Sequence[str], Sequence[str]]:
    """The verdict, and the findings that it rests on."""
    return list(audit.get("verdict") or ()), [str(found["text"]) for found in audit.get("findings") or ()]
