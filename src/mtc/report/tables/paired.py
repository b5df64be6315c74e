"""Two models against each other, from what ``mtc compare --paired --json`` printed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtc.report.tables.table import Cell, Column, Percent, Table


def paired_table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Differences in macro F1, a row a comparison, task, kind of verdict and choice of classes."""
    columns = [Column("second against first"), Column("split"), Column("seeds", numbers=True), Column("task")]
    columns += [Column("verdicts on"), Column("classes"), Column("first", numbers=True)]
    columns += [Column("second", numbers=True), Column("difference", numbers=True)]
    columns += [Column("second better in draws (%)", numbers=True)]
    rows: list[list[Cell]] = []
    rules = set()
    for content in found.values():
        rules.add(len(rows))
        first, second = (Path(content[side][0]).name for side in ("first", "second"))
        for task, by_verdict in content["tasks"].items():
            for per, by_classes in by_verdict.items():
                for which, row in by_classes.items():
                    if row is not None:
                        low, high = row["interval"]
                        rows.append(
                            [
                                f"{second} against {first}", content["split"], len(content["first"]), task,
                                f"{per}s", which, Percent(row["first"]), Percent(row["second"]),
                                Percent(row["difference"], bounds=(low, high), best=low > 0),
                                100 * row["above_zero"],
                            ]
                        )  # fmt: skip
    least = {content["common_flows"] for content in found.values()}
    note = (
        "Macro F1 in percent, means of the seeds; [95 % interval] of the difference by a paired bootstrap "
        "over flows, bold where it lies above 0. Common: without classes of fewer than "
        f"{', '.join(map(str, sorted(least)))} flows in the dataset."
    )
    return Table("paired", "Two models on the same flows", columns, rows, note, frozenset(rules))
