"""The CICIDS2017 dataset, from its tables as they were downloaded. Source: Sec. 3.2."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from mtc.datasets.build.folder import building, check_target
from mtc.datasets.build.tasks import Progress, read_sources
from mtc.datasets.cicids2017.describe import describe_build
from mtc.datasets.cicids2017.labels import cicids_tasks
from mtc.datasets.cicids2017.rows import choose_rows, write_features
from mtc.datasets.cicids2017.staging import TableTask, collect_tables
from mtc.datasets.flow_features.selection import FeatureStatistics
from mtc.datasets.flow_features.sources import TableSource, find_tables, hold_captures
from mtc.datasets.info import DatasetInfo, SourceReport
from mtc.datasets.layout import FEATURES_FILE
from mtc.datasets.splits.splits import FOLDS, check_folds
from mtc.errors import DatasetError, UsageError
from mtc.parallel import Backend, Workers

Duplicates = Literal["keep", "drop"]

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
    folds: int = FOLDS,
    force: bool = False,
    workers: int | None = 1,
    on: Backend = "local",
    progress: Progress | None = None,
    convention: str | None = None,
    schedule: str | Path | None = None,
) -> DatasetInfo:
    """Build a dataset from the tables or captures of CICIDS2017; the same input and seed give the same bytes.

    Features are stored as they were read. The dataset holds two splits: ``honest`` splits the rows that
    were read and keeps those together that are the same to a model; ``paper`` splits the rows after
    they were balanced to Table 2, and holds rows that SMOTE made.

    Args:
        sources: ``MachineLearningCSV.zip``, its folder, single CSV or Parquet files, or several of them; or
            the original PCAPs, whose features are computed and labelled here.
        out: The dataset folder; it appears, or is replaced, when everything is written.
        seed: Seed of the balance and of the splits.
        infiltration: Whether Infiltration stays as a seventh attack class.
        duplicates: ``keep``, or ``drop`` for leaving out every copy of a row that occurs more than once,
            as the code of the paper's reference [25] does.
        folds: Folds of every split (at least 3), or 0 for none.
        force: Whether a dataset that is there already is replaced.
        workers: Processes that read tables; None for one per core, where there is enough to read.
        on: ``ray`` reads tables on a Ray cluster.
        progress: Called with the bytes read.
        convention: How features of captures are computed, see ``mtc.flows.features``; None for
            ``corrected``. Tables have been computed by ``cicids2017``.
        schedule: CSV file with the attacks of captures, see ``mtc.datasets.cicids2017.captures``; None for
            those of the dataset.

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
    check_folds(folds)
    check_target(out, force=force)
    given = [Path(sources)] if isinstance(sources, str | Path) else [Path(source) for source in sources]
    settings: dict[str, Any] = {
        "seed": seed,
        "infiltration": infiltration,
        "duplicates": duplicates,
        "folds": folds,
    }
    where = Workers(workers, on)
    if hold_captures(given):
        from mtc.datasets.cicids2017.captures import write_tables

        settings["convention"] = convention or "corrected"
        plan = None if schedule is None else Path(schedule)
        with TemporaryDirectory(prefix="mtc-features-", dir=Path(out).resolve().parent) as folder:
            tables = dict(write_tables(given, Path(folder), settings["convention"], plan))
            found = _look_through(tables)
            found.unreadable |= {path.stem: problem for path, problem in tables.items() if problem}
            with building(out, force=force) as (work, finished):
                return _build(found, work, finished, settings, where, progress)
    if convention not in (None, "cicids2017") or schedule is not None:
        raise UsageError("tables hold features as they are: a convention and a schedule are for captures")
    found = _look_through(given)
    with building(out, force=force) as (work, finished):
        return _build(found, work, finished, settings, where, progress)


@dataclass
class _Found:
    """Contents of the sources."""

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
    found: _Found,
    work: Path,
    folder: Path,
    settings: Mapping[str, Any],
    workers: Workers,
    progress: Progress | None,
) -> DatasetInfo:
    tables = [TableTask(source, name) for name, source in found.in_order()]
    results, sources = read_sources(tables, dict(sorted(found.files.items())), work, workers, progress)
    staged = collect_tables(tables, results, work)
    unreadable = {**found.unreadable, **staged.unreadable}
    tasks = cicids_tasks(infiltration=settings["infiltration"])
    rows = choose_rows(
        staged,
        tasks,
        drop_repeated=settings["duplicates"] == "drop",
        seed=settings["seed"],
        folds=settings["folds"],
    )
    if not rows.kept.any():
        listed = next((f"{file}: {reason}" for file, reason in unreadable.items()), "no row can be used")
        raise DatasetError(f"CICIDS2017: nothing to build from ({listed})")
    statistics = FeatureStatistics()
    file, content = write_features(folder / FEATURES_FILE, staged, rows, tasks, statistics)
    report = SourceReport(
        unknown=found.unknown,
        repeated=tuple(found.repeated),
        unreadable=unreadable,
        missing=tuple(title for title in TABLES if title.lower() not in found.tables),
    )
    info = describe_build(
        staged, rows, tasks, settings, report, (file, *sources), content, statistics.selection()
    )
    info.write(folder)
    return info
