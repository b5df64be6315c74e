"""Compiled kernels on disk: drops those that are out of date, and reports when new ones are compiled."""

import contextlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

ROOMS = ("capture", "packets", "flows", "datasets", "models")
"""Rooms with kernels, in their order: those of one call kernels of the rooms before it."""

QUIET_S = 1.0
"""Compiling that takes no longer is not worth a line."""

REPORT_EVERY_S = 10.0


def forget_stale_kernels(package: Path) -> None:
    """Delete what numba cached of kernels that were compiled before a kernel they may call was changed.

    numba looks at the file of a kernel alone. When another file was updated, it would go on running
    machine code that was made for the old one, down to a segmentation fault. Takes milliseconds.

    Args:
        package: Folder of the package, in which numba keeps its indexes. Where it may not write there,
            its cache is in the user's folder, and the package is not updated file by file either.
    """
    sources = {room: list((package / room).rglob("*.py")) for room in ROOMS}
    indexes = {room: list((package / room).rglob("*.nbi")) for room in ROOMS}
    compiled = [_changed(index) for found in indexes.values() for index in found]
    if not compiled or max(_changed(p) for found in sources.values() for p in found) <= min(compiled):
        return
    newest = 0.0
    for room in ROOMS:
        newest = max([newest, *(_changed(path) for path in sources[room] if _has_kernels(path))])
        for index in indexes[room]:
            if _changed(index) < newest:
                with contextlib.suppress(OSError):  # who may not delete it may not have updated the package
                    index.unlink()


def find_cache_place(package: Path) -> None:
    """Find a place for compiled kernels where numba's own, the package and the user's folder, are read-only.

    As in a hardened container: then kernels are kept in the folder for temporary files; and where that is
    read-only too, in memory, so that each run compiles anew. Does not import numba.
    """
    if "NUMBA_CACHE_DIR" in os.environ or _may_create(package / ROOMS[0] / "__pycache__"):
        return
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    if _may_create(Path(base) / "numba"):
        return
    try:
        place = Path(tempfile.gettempdir()) / f"mtc-kernels-{os.getuid()}"
        place.mkdir(mode=0o700, exist_ok=True)
        # Code is run from there: nobody else may have made the folder, or may write to it.
        status = place.lstat()
        usable = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    except OSError:  # read-only, as the others
        usable = False
    if usable:
        os.environ["NUMBA_CACHE_DIR"] = str(place)
    else:
        _on_import("numba.core.dispatcher", _keep_in_memory)


def _may_create(folder: Path) -> bool:
    """Whether a folder can be written to, or created."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _keep_in_memory(dispatcher: Any) -> None:
    dispatcher.Dispatcher.enable_caching = lambda self: None


@cache
def report_compiling() -> None:
    """From now on, say on stderr that kernels are being compiled, and how far that is.

    The first run on a machine compiles for half a minute; without a word it would look hung. Nothing is
    written where kernels come from the cache, or where ``MTC_REPORT_COMPILING`` is 0. Does not import
    numba, but waits for its import.
    """
    if os.environ.get("MTC_REPORT_COMPILING") != "0":
        _on_import("numba.core.event", _listen)


def _on_import(name: str, act: Callable[[Any], None]) -> None:
    """Call ``act`` with a module, now or as soon as it is loaded; once."""
    if name in sys.modules:
        act(sys.modules[name])
    elif not any(isinstance(finder, _OnImport) and finder.name == name for finder in sys.meta_path):
        sys.meta_path.insert(0, _OnImport(name, act))


class _OnImport:
    """Finds one module as Python would, and acts on it as soon as it is loaded."""

    def __init__(self, name: str, act: Callable[[Any], None]) -> None:
        self.name, self._act = name, act

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_act(module: Any) -> None:
                load(module)
                self._act(module)

            spec.loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec


def _listen(events: Any) -> None:
    compiling = _Compiling()

    class Listener(events.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            compiling.begin(event.data["dispatcher"].py_func.__module__)

        def on_end(self, event: Any) -> None:
            compiling.end()

    events.register("numba:compile", Listener())


class _Compiling:
    """Counts kernels while they are compiled; the kernels that a kernel calls are compiled inside it."""

    def __init__(self) -> None:
        self._depth = self._done = 0
        self._spent = 0.0
        self._since = self._reported = 0.0

    def begin(self, module: str) -> None:
        if self._depth or module.startswith("mtc."):
            if not self._depth:
                self._since = time.monotonic()
            self._depth += 1
            self._report()

    def end(self) -> None:
        if self._depth:
            self._depth -= 1
            self._done += 1
            self._report()
            if not self._depth:
                self._spent += time.monotonic() - self._since

    def _report(self) -> None:
        spent = self._spent + time.monotonic() - self._since
        if not self._reported and spent > QUIET_S:
            line = "compiling kernels for this processor; only the first run does, for about half a minute"
        elif self._reported and spent > self._reported + REPORT_EVERY_S:
            line = f"compiling kernels: {self._done} done in {spent:.0f} s"
        else:
            return
        self._reported = spent
        print(f"mtc: {line}", file=sys.stderr, flush=True)


def _has_kernels(source: Path) -> bool:
    text = source.read_text("utf-8")
    return "numba" in text or "kernel" in text


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just deleted it
        return float("inf")
