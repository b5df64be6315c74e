"""Staging a capture as a task of a build."""

import dataclasses
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mtc.datasets.build.tasks import BuildTask
from mtc.datasets.build.staging import LabelledCapture, RowKind, StagedCapture, stage_capture
from mtc.errors import CaptureError
from mtc.parallel import Advance

_LAYOUT = 4
"""Version of the staged files."""

ROWS, FLOWS = "arrow", "npy"
"""Endings of what is made: the possible rows, and the five-tuples, uint64 (flows, 6)."""


@dataclass(frozen=True)
class StageTask(BuildTask):
    """A capture to be staged, with all that decides what is staged of it."""

    capture: LabelledCapture
    seed: int
    limits: tuple[int | None, ...]
    """For each rule, how many samples the balance may keep of it, or None for all."""
    decapsulate: bool
    kind: RowKind = "packets"

    @property
    def name(self) -> str:
        """Name of the capture."""
        return self.capture.name

    @property
    def path(self) -> Path:
        """Its file, or the archive that it is in."""
        if self.capture.source.path is None:
            raise CaptureError(f"{self.capture.source.name}: only files can be made into a dataset")
        return self.capture.source.path

    @property
    def settings(self) -> Any:
        """What decides the staged rows."""
        rules = [[rule.text, any(rule.labels.values())] for rule in self.capture.rules]
        member = self.capture.source.member
        how = [self.seed, self.limits, self.decapsulate, self.kind, self.capture.scope]
        return [_LAYOUT, self.capture.name, member, *how, rules]

    @cached_property
    def work(self) -> int:
        """Size of a capture as it lies on disk; of a member of an archive, its size outside."""
        if self.capture.source.member is None:
            return super().work
        with zipfile.ZipFile(self.path) as archive:
            return archive.infolist()[self.capture.source.member].file_size

    def make(self, folder: Path, advance: Advance) -> Mapping[str, Any]:
        """Stage the capture; what cannot be read is staged as that."""
        try:
            with self.file(folder, ROWS) as rows, self.file(folder, FLOWS) as flows:
                read, keys = stage_capture(
                    self.capture,
                    rows,
                    seed=self.seed,
                    limits=self.limits,
                    decapsulate=self.decapsulate,
                    kind=self.kind,
                    progress=lambda name, count: advance(count),
                )
                with flows.open("wb") as file:
                    np.save(file, keys)
        except CaptureError as error:
            return {"unreadable": str(error).removeprefix(f"{self.capture.source.name}: ")}
        return dataclasses.asdict(read)


def staged_capture(values: Mapping[str, Any]) -> StagedCapture | str:
    """What was staged, of the result of a task: the capture, or why it cannot be read."""
    if "unreadable" in values:
        return str(values["unreadable"])
    rules = tuple((packets, samples) for packets, samples in values["rules"])
    return StagedCapture(**{**values, "link_types": tuple(values["link_types"]), "rules": rules})
