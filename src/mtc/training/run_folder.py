"""The folder of a run: its files, when it may be written, and its checkpoints.

config.json          the resolved settings
run.json             the dataset and the model it started from (path, hash), and how far the run came
epochs.csv           a row for every epoch
tensorboard/         the same, and the losses of steps, for TensorBoard
checkpoints/         training state, best and last; no model, and of no use elsewhere
model.safetensors    the weights of the best epoch
model.json           the model's card
metrics.json         its scores; written last, so a run that has it is finished
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO

from mtc.config import RunConfig
from mtc.errors import InputError, OutputError, UsageError
from mtc.files import read_json, replacing

FILES = ("metrics.json", "model.json", "model.safetensors", "epochs.csv", "run.json", "config.json")
CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"
MAY_CHANGE = frozenset({"train.epochs", "train.max_minutes", "train.stopping_patience"})
"""Settings that a resumed run may change: they say when to end, not what is computed."""


def prepare(
    folder: Path, config: RunConfig, origin: Mapping[str, Any], *, resume: bool, force: bool
) -> Path | None:
    """Make a run folder ready for writing.

    Args:
        folder: The run folder.
        config: The settings that it is to have.
        origin: What run.json says about where it comes from: ``dataset`` and, where it starts from given
            weights, ``init``, each with a ``hash``.
        resume: Go on with the run that is there, if there is one.
        force: Remove the run that is there.

    Returns:
        The checkpoint to go on from, if there is one.

    Raises:
        OutputError: Something is there already, or the place is not writable.
        UsageError: The run that is there has other settings, another dataset, or started elsewhere.
    """
    if resume and force:
        raise UsageError("--resume and --force exclude each other")
    try:
        occupied = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        if occupied and resume:
            _check_same_run(folder, config, origin)
        elif occupied and force:
            _remove(folder)
        elif occupied:
            raise OutputError(f"{folder} exists already; take --resume to continue it, --force to replace it")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: not writable ({error.strerror})") from error
    return last_checkpoint(folder)


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that a run can go on from, if it has one."""
    checkpoint = folder / CHECKPOINTS / "last.ckpt"
    return checkpoint if checkpoint.is_file() else None


def _check_same_run(folder: Path, config: RunConfig, origin: Mapping[str, Any]) -> None:
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} is not a run: nothing to resume")
    # A setting that is newer than the run had its default value there.
    known = RunConfig.from_dict(read_json(folder / "config.json"))
    before, now = _flat(known.to_dict()), _flat(config.to_dict())
    changed = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)} - MAY_CHANGE
    if changed:
        raise UsageError(f"{folder} was begun with other settings ({', '.join(sorted(changed))})")
    if (folder / "run.json").is_file():
        before = read_json(folder / "run.json")
        for key, name in (("dataset", "another dataset"), ("init", "other weights (--init)")):
            if before.get(key, {}).get("hash") != origin.get(key, {}).get("hash"):
                raise UsageError(f"{folder} was begun with {name}")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _remove(folder: Path) -> None:
    if not folder.is_dir() or not (folder / "config.json").is_file():
        raise OutputError(f"{folder} exists already and is not a run, so --force does not remove it")
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob("lightgbm-*.txt"):
        path.unlink(missing_ok=True)
    for name in (CHECKPOINTS, TENSORBOARD):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


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
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with replacing(place, sync=True) as partial, partial.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
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
