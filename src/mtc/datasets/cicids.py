"""The CICIDS2017 dataset, from its tables as they were downloaded. Source: Sec. 3.2."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mtc.datasets.build import check_target, replace_folder
from mtc.datasets.cicids_describe import describe_build
from mtc.datasets.cicids_labels import cicids_tasks
from mtc.datasets.cicids_rows import choose_rows, write_features
from mtc.datasets.cicids_staging import Progress, stage_tables
from mtc.datasets.describe import describe_file
from mtc.datasets.features_layout import FEATURES_FILE
from mtc.datasets.features_selection import FeatureStatistics
from mtc.datasets.features_sources import TableSource, find_tables
from mtc.datasets.info import DatasetInfo, FileInfo, SourceReport
from mtc.errors import DatasetError, OutputError, UsageError

Duplicates = Literal["keep", "drop"]

BuildProgress = Callable[[str, int, int], None]
"""Told the table being read, the bytes read since the last call, and the bytes of the whole source."""

TABLES = (
    "Monday-WorkingHours",
    "Tuesday-WorkingHours",
    "Wednesday-workingHours",
    "Thursday-WorkingHours-Morning-WebAttacks",
    "Thursday-WorkingHours-Afternoon-Infilteration",
    "Friday-WorkingHours-Morning",
    "Friday-WorkingHours-Afternoon-PortScan",
    "Friday-WorkingHours-Afternoon-DDos",
)
"""The tables of the download, as they are titled."""


def build_cicids2017(
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    seed: int = 1,
    infiltration: bool = False,
    duplicates: Duplicates = "keep",
    force: bool = False,
    progress: BuildProgress | None = None,
) -> DatasetInfo:
    """Build a dataset from the tables of CICIDS2017; the same input and seed give the same bytes.

    Features are stored as they were read. The dataset holds two splits: ``honest`` splits the rows that
    were read and keeps those together that are the same to a model; ``paper`` splits the rows after
    they were balanced to Table 2, and holds rows that SMOTE made.

    Args:
        sources: ``MachineLearningCSV.zip``, its folder, single CSV or Parquet files, or several of them.
        out: The dataset folder; it appears, or is replaced, when everything is written.
        seed: Seed of the balance and of the splits.
        infiltration: Whether Infiltration stays as a seventh attack class.
        duplicates: ``keep``, or ``drop`` for leaving out every copy of a row that occurs more than once,
            as the code of the paper's reference [25] does.
        force: Whether a dataset that is there already is replaced.
        progress: Told about the bytes read.

    Returns:
        What ``dataset.json`` says.

    Raises:
        DatasetError: A source is missing, or no row could be read and used.
        OutputError: ``out`` exists, or cannot be written.
        UsageError: ``duplicates`` is neither of both, or the seed is negative.
    """
    if duplicates not in ("keep", "drop"):
        raise UsageError(f"duplicates must be keep or drop, not {duplicates!r}")
    if seed < 0:
        raise UsageError(f"the seed must not be negative, not {seed}")
    target = Path(out)
    check_target(target, force=force)
    given = [Path(sources)] if isinstance(sources, str | Path) else [Path(source) for source in sources]
    found = _look_through(given)
    settings = {"seed": seed, "infiltration": infiltration, "duplicates": duplicates}
    building = target.parent / f".{target.name}.building"
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        info = _build(found, building, settings, _over_all(found, progress))
        replace_folder(target, building)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return info


@dataclass
class _Found:
    """What the sources hold."""

    tables: dict[str, tuple[str, TableSource]] = field(default_factory=dict)
    """Title in small letters -> what reports call the table, and where it is."""
    files: dict[str, Path] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)

    def in_order(self) -> list[tuple[str, TableSource]]:
        """The tables by title, so that it does not matter whether they come zipped."""
        return [self.tables[title] for title in sorted(self.tables)]


def _look_through(given: Iterable[Path]) -> _Found:
    found = _Found()
    for source in given:
        if not source.exists():
            raise DatasetError(f"{source}: no such file or folder")

        def name_of(name: str, source: Path = source) -> str:
            return (source.resolve().name + name.removeprefix(str(source))).replace("\\", "/")

        skipped: list[str] = []
        for table in find_tables([source], skipped):
            name = name_of(table.name)
            if table.problem is not None:
                found.unreadable[name] = table.problem
            elif table.title.lower() in found.tables:
                found.repeated.append(name)
            else:
                found.tables[table.title.lower()] = (name, table)
                assert table.path is not None
                found.files[name_of(str(table.path))] = table.path
        found.unknown |= {name_of(name): "not a table" for name in skipped}
    return found


def _build(
    found: _Found, folder: Path, settings: Mapping[str, int | str], progress: Progress | None
) -> DatasetInfo:
    tables = found.in_order()
    staging = folder / "rows.arrow"
    staged = stage_tables([source for _, source in tables], [name for name, _ in tables], staging, progress)
    unreadable = {**found.unreadable, **staged.unreadable}
    tasks = cicids_tasks(infiltration=bool(settings["infiltration"]))
    rows = choose_rows(
        staged, tasks, drop_repeated=settings["duplicates"] == "drop", seed=int(settings["seed"])
    )
    if not rows.kept.any():
        told = next((f"{file}: {reason}" for file, reason in unreadable.items()), "no row can be used")
        raise DatasetError(f"CICIDS2017: nothing to build from ({told})")
    statistics = FeatureStatistics()
    write_features(folder / FEATURES_FILE, staged, rows, tasks, statistics)
    staging.unlink()
    report = SourceReport(
        unknown=found.unknown,
        repeated=tuple(found.repeated),
        unreadable=unreadable,
        missing=tuple(title for title in TABLES if title.lower() not in found.tables),
    )
    sources = [describe_file(path, name) for name, path in sorted(found.files.items())]
    files: tuple[FileInfo, ...] = (describe_file(folder / FEATURES_FILE, FEATURES_FILE),)
    info = describe_build(staged, rows, tasks, settings, report, files, sources, statistics.selection())
    info.write(folder)
    return info


def _over_all(found: _Found, progress: BuildProgress | None) -> Progress | None:
    if progress is None:
        return None
    told = progress
    total = sum(source.size() for _, source in found.in_order())
    return lambda table, read: told(table, read, total)
