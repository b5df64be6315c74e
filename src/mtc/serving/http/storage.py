"""Folders of uploads and results: one per server, one per job, with a quota."""

import fcntl
import re
import shutil
import tempfile
from pathlib import Path

from mtc.serving.http.api_error import ApiError

PREFIX = "mtc-serve-"
LOCK = "lock"
MOST_NAME = 100
_UNPRINTABLE = re.compile(r"[^\w.,+=@()\[\] -]")


class Storage:
    """Folders of jobs, inside a folder that only this user can read.

    What a server that was killed left behind is deleted by the next one.
    """

    def __init__(self, limit: int, parent: Path | None = None) -> None:
        """Make the folder; at most ``limit`` bytes are kept in it."""
        self.limit = limit
        _delete_orphans(Path(tempfile.gettempdir()) if parent is None else parent)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._lock = (self.folder / LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._used: dict[str, int] = {}

    @property
    def used(self) -> int:
        """Bytes of all jobs."""
        return sum(self._used.values())

    def make(self, job: str) -> Path:
        """Create a folder for a job.

        Raises:
            ApiError: The disk is full.
        """
        folder = self.folder / job
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise disk_error(error) from None
        self._used[job] = 0
        return folder

    def take(self, job: str, size: int) -> None:
        """Count bytes before they are written.

        Raises:
            ApiError: There is no room for them, or the job has been deleted.
        """
        if job not in self._used:
            raise deleted()
        if self.used + size > self.limit:
            raise ApiError(507, "no room for more uploads; try again later", "storage")
        self._used[job] += size

    def measure(self, job: str) -> None:
        """Count what lies in a job's folder, results included."""
        self._used[job] = sum(f.stat().st_size for f in (self.folder / job).iterdir())

    def delete(self, job: str) -> None:
        """Delete a job's folder and all that is in it."""
        shutil.rmtree(self.folder / job, ignore_errors=True)
        self._used.pop(job, None)

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def disk_error(error: OSError) -> ApiError:
    """The error of a request whose data the disk does not take."""
    return ApiError(507, f"the server's disk takes no more ({error.strerror or error})", "disk")


def deleted() -> ApiError:
    """The error of an upload whose job was deleted, or gave way to another, while it came."""
    return ApiError(409, "the upload was ended before it was complete", "deleted")


def display_name(given: str | None) -> str:
    """A client's name for a file, fit to be shown; it is never used as a path."""
    last = re.split(r"[/\\]", given or "")[-1]
    return _UNPRINTABLE.sub("_", last).strip(" .")[-MOST_NAME:] or "capture"


def _delete_orphans(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            with (folder / LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # a server that runs holds it, or it is not ours
            continue
