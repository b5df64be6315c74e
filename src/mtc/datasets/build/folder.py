"""Atomic creation of dataset folders."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtc.datasets.info import INFO_FILE
from mtc.errors import MtcError, OutputError
from mtc.parallel import WorkerLost


@contextmanager
def building(out: str | Path, *, force: bool) -> Iterator[tuple[Path, Path]]:
    """Folders to build in, beside the dataset's place.

    Whatever ends a build before its time, but for an error that would come again, leaves the first
    folder as it is, and the next build goes on from there.

    Args:
        out: The dataset's place.
        force: Whether a dataset that is there already is replaced.

    Yields:
        A folder for what tasks make, and an empty one inside, which becomes the dataset.

    Raises:
        OutputError: ``out`` exists, or cannot be written.
    """
    target = Path(out)
    check_target(target, force=force)
    work = target.parent / f".{target.name}.building"
    with _alone_in(work, target):
        yield from _building(target, work)


def _building(target: Path, work: Path) -> Iterator[tuple[Path, Path]]:
    try:
        finished = work / f"dataset.{os.getpid()}"
        shutil.rmtree(finished, ignore_errors=True)
        finished.mkdir(parents=True)
        yield work, finished
        _replace(target, finished)
    except WorkerLost:
        raise
    except MtcError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
    shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _alone_in(work: Path, target: Path) -> Iterator[None]:
    """Hold the lock of a place that is built.

    Raises:
        OutputError: Another process builds there, or the place cannot be written.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("w")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{target}: another process is building it right now") from None
        yield


def check_target(out: str | Path, *, force: bool) -> None:
    """Refuse a place that a dataset may not take.

    Raises:
        OutputError: Something is there, and ``force`` is not given or it is no dataset.
    """
    target = Path(out)
    if not target.exists() and not target.is_symlink():
        return
    ours = target.is_dir() and ((target / INFO_FILE).is_file() or not any(target.iterdir()))
    if not ours:
        raise OutputError(f"{target}: exists and is no dataset, so it is not replaced")
    if not force and (target / INFO_FILE).is_file():
        raise OutputError(f"{target}: exists already (--force replaces it)")


def _replace(target: Path, finished: Path) -> None:
    """Put the finished folder in its place; an old one is moved aside first and removed last."""
    if not target.exists():
        finished.rename(target)
        return
    aside = target.parent / f".{target.name}.replaced"
    shutil.rmtree(aside, ignore_errors=True)
    target.rename(aside)
    finished.rename(target)
    shutil.rmtree(aside)
