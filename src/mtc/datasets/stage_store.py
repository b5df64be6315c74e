"""Staged captures on disk, under names that tell what they were made from.

An interrupted build finds again what it had staged. A capture counts as staged when its JSON file is
there, which is written last; files appear whole, by renaming.
"""

import dataclasses
import hashlib
import json
import secrets
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import mtc
from mtc.capture import Source
from mtc.datasets.staging import LabelledCapture, StagedCapture, stage_capture
from mtc.errors import CaptureError

_LAYOUT = 2
"""Version of the staged files."""


@dataclass(frozen=True)
class StageTask:
    """A capture to be staged, with all that decides what is staged of it."""

    capture: LabelledCapture
    seed: int
    limits: tuple[int | None, ...]
    """For each rule, how many samples the balance may keep of it, or None for all."""
    decapsulate: bool

    @cached_property
    def key(self) -> str:
        """Name of the staged files: changes when the capture's file or a setting does."""
        source = self.capture.source
        if source.path is None:
            raise CaptureError(f"{source.name}: only files can be made into a dataset")
        status = source.path.stat()
        file = [str(source.path.resolve()), source.member, status.st_size, status.st_mtime_ns]
        rules = [[rule.text, any(rule.labels.values())] for rule in self.capture.rules]
        settings = [self.seed, self.limits, self.decapsulate, rules]
        text = json.dumps([_LAYOUT, mtc.__version__, self.capture.name, file, settings], default=dict)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @cached_property
    def bytes(self) -> int:
        """Bytes that reading the capture counts up to, about."""
        return source_bytes(self.capture.source)


def source_bytes(source: Source) -> int:
    """Size of a capture as it lies on disk; of a member of an archive, its size outside."""
    if source.path is None:
        return 0
    if source.member is None:
        return source.path.stat().st_size
    with zipfile.ZipFile(source.path) as archive:
        return archive.infolist()[source.member].file_size


def staged_rows(folder: Path, key: str) -> Path:
    """The Arrow file with the possible rows of a staged capture."""
    return folder / f"{key}.arrow"


def staged_flows(folder: Path, key: str) -> Path:
    """The NumPy file with the five-tuples of a staged capture, uint64 (flows, 6)."""
    return folder / f"{key}.npy"


def stage(task: StageTask, folder: Path, tell: Callable[[int], None]) -> None:
    """Stage a capture in ``folder``; what cannot be read is staged as that.

    Args:
        task: What to stage.
        folder: Where.
        tell: Told the bytes read since the last call.
    """
    # The same capture may be staged twice at a time, by a worker that was given up on another machine.
    unfinished = folder / f"{task.key}.{secrets.token_hex(8)}"
    values: dict[str, Any]
    try:
        read, flow_keys = stage_capture(
            task.capture,
            unfinished,
            seed=task.seed,
            limits=task.limits,
            decapsulate=task.decapsulate,
            progress=lambda name, count: tell(count),
        )
    except CaptureError as error:
        unfinished.unlink(missing_ok=True)
        values = {"unreadable": str(error).removeprefix(f"{task.capture.source.name}: ")}
    else:
        unfinished.replace(staged_rows(folder, task.key))
        with unfinished.open("wb") as file:
            np.save(file, flow_keys)
        unfinished.replace(staged_flows(folder, task.key))
        values = dataclasses.asdict(read)
    unfinished.write_text(json.dumps(values), encoding="utf-8")
    unfinished.replace(folder / f"{task.key}.json")


def load_staged(folder: Path, key: str) -> StagedCapture | str | None:
    """What was staged: the capture, or why it cannot be read; None where nothing was."""
    file = folder / f"{key}.json"
    if not file.is_file():
        return None
    values = json.loads(file.read_text(encoding="utf-8"))
    if "unreadable" in values:
        return str(values["unreadable"])
    values["link_types"] = tuple(values["link_types"])
    values["rules"] = tuple((packets, samples) for packets, samples in values["rules"])
    return StagedCapture(**values)
