"""A run of a shallow model: fitted at once, without epochs or checkpoints."""

import platform
import time
from pathlib import Path
from typing import Any

import torch

from mtc.models import build_network
from mtc.models.shallow.base import ShallowNetwork
from mtc.training.finish import Outcome, write_model
from mtc.training.plan import Plan
from mtc.training.run_folder import prepare, write_json


def train_shallow(plan: Plan, out: Path, *, resume: bool, force: bool) -> dict[str, Any]:
    """Fit a shallow model and write its run folder.

    Args:
        plan: Settings and data.
        out: The run folder.
        resume: Fit it again in the folder of an unfinished run; there is no state to go on from.
        force: Replace the run that is there.

    Returns:
        The content of ``metrics.json``, where epochs are rounds of boosting, and 1 without such.

    Raises:
        OutputError: Something is there already, or cannot be written.
        UsageError: The run that is there differs, or a library is not installed.
    """
    prepare(out, plan.config, plan.origin, resume=resume, force=force)
    write_json(out / "config.json", plan.config.to_dict())
    write_json(out / "run.json", plan.origin)
    network = build_network(plan.config.model, plan.tasks)
    assert isinstance(network, ShallowNetwork)
    started = time.monotonic()
    rounds = network.fit(plan.train_part, plan.validation_part, plan.config.seed)
    seconds = time.monotonic() - started
    outcome = Outcome(
        ended="fitted",
        epochs=rounds,
        best_epoch=rounds,
        validation_loss=float("nan"),
        minutes=round(seconds / 60, 3),
        samples_per_s=round(len(plan.train_part) / max(seconds, 1e-3), 2),
        precision="fp32",
        machine=f"{platform.machine()}, {torch.get_num_threads()} threads",
    )
    ended = {"ended": outcome.ended, "epochs": outcome.epochs, "minutes": outcome.minutes}
    write_json(out / "run.json", {**plan.origin, **ended})
    return write_model(out, plan, network.eval(), outcome, {})
