"""Checkpoints of a run on disk: training state, not models; read only from the run's own folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO

from mtc.errors import InputError, OutputError


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the place and renames, so that a checkpoint is whole or the previous one.

    Reads with ``weights_only=True``: a checkpoint holds tensors and plain values, never code.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OutputError: The disk is full, or the place is not writable.
        """
        place = Path(path)
        partial = place.with_name(place.name + ".partial")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(place)
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
            partial.unlink(missing_ok=True)
            raise OutputError(f"{place}: the checkpoint cannot be written ({error})") from error

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            InputError: It cannot be read.
        """
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint into the memory of the CPU.

    Raises:
        InputError: It is missing or damaged.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways, none of them ours
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable checkpoint ({reason})") from error
    return checkpoint
