"""Forgets compiled kernels that are older than what they call."""

import contextlib
from pathlib import Path

ROOMS = ("capture", "packets", "datasets", "models")
"""Rooms with kernels, in their order: those of one call kernels of the rooms before it."""


def forget_stale_kernels(package: Path) -> None:
    """Delete what numba keeps of kernels that were compiled before a kernel they may call was changed.

    numba looks at the file of a kernel alone. When another file was updated, it would go on running
    machine code that was made for the old one, down to a segmentation fault. Takes milliseconds.

    Args:
        package: Folder of the package, in which numba keeps its indexes. Where it may not write there,
            it keeps them elsewhere, and the package is not updated file by file either.
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


def _has_kernels(source: Path) -> bool:
    text = source.read_text("utf-8")
    return "numba" in text or "kernel" in text


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just deleted it
        return float("inf")
