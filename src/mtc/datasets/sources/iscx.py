"""The ISCX VPN-nonVPN 2016 dataset, from the captures as they were downloaded. Source: Sec. 3.2."""

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mtc.capture import Source, expand_inputs
from mtc.datasets.build.build import BuildPlan, build_dataset
from mtc.datasets.build.folder import check_target
from mtc.datasets.build.rules import Rule
from mtc.datasets.build.staging import LabelledCapture
from mtc.datasets.build.tasks import Progress
from mtc.datasets.info import DatasetInfo, SourceReport
from mtc.datasets.sources.iscx_labels import (
    MANIFEST_FILE,
    CaptureFacts,
    LabelTable,
    capture_name,
    check_variants,
    iscx_table,
    read_as,
    read_manifest,
)
from mtc.datasets.splits.splits import FOLDS
from mtc.errors import DatasetError
from mtc.parallel import Backend
from mtc.tasks import ISCX


def build_iscx(
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    seed: int = 1,
    folds: int = FOLDS,
    cap: int | None = 50_000,
    variants: Mapping[str, str] | None = None,
    force: bool = False,
    workers: int | None = 1,
    on: Backend = "local",
    progress: Progress | None = None,
) -> DatasetInfo:
    """Build a dataset from ISCX captures.

    Captures are labelled by a ``manifest.csv`` beside them, else by name from our table of the 150
    originals. What is missing, unknown or damaged is listed in the report and does not stop the build.

    Args:
        sources: Folders, zips or captures, or one of them.
        out: The dataset folder to write.
        seed: Seed of the balance and of the splits.
        folds: Folds of every split (at least 3), or 0 for none.
        cap: Most packets of an application, half plain and half VPN; None for all.
        variants: Dispute -> reading, for rows of our table that others label differently; see
            ``mtc.datasets.sources.iscx_labels.VARIANTS``.
        force: Whether a dataset that is there already is replaced.
        workers: Processes that read captures; None for one per core, where there is enough to read.
        on: ``ray`` reads captures on a Ray cluster.
        progress: Called with the bytes read.

    Raises:
        UsageError: No such variant, or a seed or cap out of range.
        DatasetError: A source is missing, a manifest is wrong, or nothing could be read.
        OutputError: ``out`` exists, or cannot be written.
    """
    check_target(Path(out), force=force)
    given = [Path(sources)] if isinstance(sources, str | Path) else [Path(source) for source in sources]
    search = _Search(check_variants(variants or {}))
    for source in given:
        search.look_through(source)
    plan = search.plan(seed=seed, folds=folds, cap=cap)
    return build_dataset(plan, out, force=force, workers=workers, on=on, progress=progress)


@dataclass
class _Search:
    """Finds labelled captures in sources, and remembers whatever else is there."""

    variants: Mapping[str, str]
    captures: dict[str, LabelledCapture] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    manifests: dict[tuple[Path, str], LabelTable | None] = field(default_factory=dict)
    used: dict[str, LabelTable] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def look_through(self, given: Path) -> None:
        """Sort out everything in one source."""
        if not given.exists():
            raise DatasetError(f"{given}: no such file or folder")
        root = given.resolve().name

        def shown(name: str) -> str:
            # Names in dataset.json begin at the source, so that they are the same on every machine.
            return PurePosixPath(root + name.removeprefix(str(given))).as_posix()

        def on_skip(name: str, reason: str) -> None:
            if PurePosixPath(name).name == MANIFEST_FILE:
                return
            known = self._find(Path(name), None, capture_name(name))
            (self.unreadable if known else self.unknown)[shown(name)] = reason

        for source in expand_inputs([given], on_skip=on_skip):
            if source.path is not None and not source.path.is_dir():
                name = source.name if source.member is None else _archive_name(source)
                self.files.setdefault(shown(name), source.path)
            self._add(source, shown(source.name))

    def _add(self, source: Source, file: str) -> None:
        if source.problem is not None:
            self.unreadable[file] = source.problem
            return
        fact = self._find(source.path, source.member, source.name)
        if fact is None:
            self.unknown[file] = "a capture that no table labels"
        elif not any(fact.labels.values()):
            self.unlabelled.append(file)
        elif fact.capture in self.captures:
            self.repeated.append(file)
        else:
            self.captures[fact.capture] = LabelledCapture(
                fact.capture, file, source, (Rule(fact.labels, fact.vpn),)
            )

    def _find(self, path: Path | None, member: int | None, name: str) -> CaptureFacts | None:
        """Facts of a capture: the manifest beside it goes first, then our table."""
        tables = [iscx_table()]
        if path is not None and (manifest := self._manifest(path, member)) is not None:
            tables.insert(0, manifest)
        for table in tables:
            if (fact := table.find(name)) is not None:
                self.used[table.name] = table
                return read_as(fact, self.variants)
        return None

    def _manifest(self, path: Path, member: int | None) -> LabelTable | None:
        folder = "" if member is None else _member_folder(path, member)
        key = (path.parent, "") if member is None else (path, folder)
        if key not in self.manifests:
            self.manifests[key] = self._read_manifest(path, folder, inside=member is not None)
        return self.manifests[key]

    def _read_manifest(self, path: Path, folder: str, *, inside: bool) -> LabelTable | None:
        if not inside:
            manifest = path.parent / MANIFEST_FILE
            if not manifest.is_file():
                return None
            try:
                table = read_manifest(manifest.read_bytes(), str(manifest))
            except OSError as error:
                raise DatasetError(f"{manifest}: cannot be read ({error.strerror or error})") from error
            self.files[f"{manifest.resolve().parent.name}/{MANIFEST_FILE}"] = manifest
            return table
        with zipfile.ZipFile(path) as archive:
            member = f"{folder}{MANIFEST_FILE}"
            if member not in archive.namelist():
                return None
            try:
                data = archive.read(member)
            except (OSError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
                raise DatasetError(f"{path}/{member}: cannot be read ({error})") from error
            return read_manifest(data, f"{path}/{member}")

    def plan(self, *, seed: int, folds: int, cap: int | None) -> BuildPlan:
        """The plan to build the captures found."""
        manifests = {table.name: table for table in self.manifests.values() if table is not None}
        listed = list(manifests.values()) or [iscx_table()]
        expected = {fact.capture for table in listed for fact in table.facts.values()}
        seen = self.captures.keys() | {capture_name(file) for file in self.unlabelled}
        own = self.used.get(iscx_table().name)
        return BuildPlan(
            name="ISCX VPN-nonVPN 2016",
            tasks=ISCX,
            captures=sorted(
                self.captures.values(), key=lambda capture: (capture.name.casefold(), capture.name)
            ),
            files=dict(sorted(self.files.items())),
            report=SourceReport(
                unknown=dict(sorted(self.unknown.items())),
                unlabelled=tuple(sorted(self.unlabelled)),
                repeated=tuple(sorted(self.repeated)),
                unreadable=dict(sorted(self.unreadable.items())),
                missing=tuple(sorted(expected - seen, key=str.casefold)),
            ),
            balance_by="application",
            stratify=("application", "traffic"),
            seed=seed,
            folds=folds,
            cap=cap,
            # Reading: Sec. 3.2 drops the link layer and no more, so Teredo (all the tunnels that there
            # are in these captures) stays the UDP that it is.
            decapsulate=False,
            settings={
                "labelled_by": {
                    "table": None if own is None else f"iscx/{own.version}",
                    "variants": dict(self.variants),
                    "manifests": sorted(table.version for table in manifests.values()),
                }
            },
        )


def _member_folder(path: Path, member: int) -> str:
    with zipfile.ZipFile(path) as archive:
        name = archive.infolist()[member].filename
    return name[: name.rfind("/") + 1]


def _archive_name(source: Source) -> str:
    """The name of the archive that a member lies in."""
    assert source.path is not None
    with zipfile.ZipFile(source.path) as archive:
        return source.name.removesuffix("/" + archive.infolist()[source.member or 0].filename)
