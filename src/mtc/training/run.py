"""One run, from start to end: fit, take the best epoch, calibrate, score, write the model."""

import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback

from mtc.config import RunConfig
from mtc.files import write_json
from mtc.models import build_network
from mtc.models.registry import SHALLOW
from mtc.models.shallow.base import ShallowNetwork
from mtc.training.callbacks import BEST
from mtc.training.finish import Outcome, write_model
from mtc.training.fitting import fit, memory_errors
from mtc.training.initial import freeze, take_weights
from mtc.training.plan import Plan, plan_run
from mtc.training.pretraining import pretrain
from mtc.training.ranks import expected_rank
from mtc.training.run_folder import CHECKPOINTS, last_checkpoint, prepare, read_checkpoint

if TYPE_CHECKING:
    from mtc.datasets import Dataset


def train(
    config: RunConfig,
    dataset: "Dataset",
    out: str | Path,
    *,
    init: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Train a model and write its run folder (see ``mtc.training.run_folder``).

    Same seed, settings, data and machine: the same metrics, whether the run was interrupted or not
    (except where ``train.max_minutes`` ended it, which is a matter of the clock).

    Args:
        config: The settings.
        dataset: What to train on.
        out: The run folder.
        init: Folder of a model whose weights the run starts from; heads of classes that it does not know
            are fresh.
        resume: Go on from the run's own last checkpoint; begin where there is none.
        force: Replace the run that is there.
        callbacks: More callbacks for the training library, for instance to show progress.

    Returns:
        The content of ``metrics.json``; nothing in the processes of a run but the first.

    Raises:
        UsageError: The run that is there differs, the dataset lacks a task that is named, the weights of
            ``init`` do not fit, the loss is no longer finite, or memory ran out.
        ModelError: The model of ``init`` cannot be read.
        DatasetError: The dataset has nothing to train or validate on.
        OutputError: Something is there already, or cannot be written.
        Interrupted: The process got SIGTERM; its state was saved.
    """
    out = Path(out).absolute()
    plan = plan_run(config, dataset, init)
    if config.model.name in SHALLOW:
        return train_shallow(plan, out, resume=resume, force=force)
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(config.seed)
        network = build_network(config.model, plan.tasks)
        network.prepare(plan.train_part.data, plan.train_part.offsets)
        fresh = take_weights(network, plan.tasks, plan.start) if plan.start else {}
        frozen = freeze(network, config.train.freeze)
        if expected_rank(config.train):  # only the first process writes
            checkpoint = last_checkpoint(out) if resume else None
            fit(plan, network, out, checkpoint, frozen=frozen, callbacks=callbacks)
            return {}
        checkpoint = prepare(out, config, plan.origin, resume=resume, force=force)
        write_json(out / "config.json", config.to_dict())
        write_json(out / "run.json", plan.origin)
        spent_s = 0.0
        if config.train.pretrain_epochs and checkpoint is None and plan.start is None:
            spent_s = pretrain(network, plan.train_part, config, callbacks)
        outcome = fit(plan, network, out, checkpoint, frozen=frozen, callbacks=callbacks, spent_s=spent_s)
    best = read_checkpoint(out / CHECKPOINTS / BEST)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): value for name, value in best.items()})
    ended = {"ended": outcome.ended, "epochs": outcome.epochs, "minutes": outcome.minutes}
    write_json(out / "run.json", {**plan.origin, **ended})
    with memory_errors("while the network was scored; the run is kept, --resume scores it again"):
        return write_model(out, plan, network, outcome, fresh)


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
