"""The end of a run: calibrate, score, write the model, its card and its metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtc.metrics import Scores
from mtc.models import ModelCard, round_to_stored, save_model
from mtc.models.networks.base import Network
from mtc.training.pairs import label_pairs
from mtc.training.plan import Plan
from mtc.training.run_folder import write_json
from mtc.training.samples import absent_classes
from mtc.training.scoring.measure import measure


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run went."""

    ended: str
    """Why it ended: ``epochs``, ``patience`` or ``time``; ``fitted`` where there are no epochs."""
    epochs: int
    """Epochs begun; where the time ended the run, the last one was not finished."""
    best_epoch: int
    """Epoch that the weights are from, from 1."""
    validation_loss: float | None
    """Of the best epoch."""
    minutes: float
    """Training and validation, over all sittings."""
    samples_per_s: float
    """Training samples a second, without validation."""
    precision: str
    """Arithmetic of the matrix products."""
    machine: str
    """What it ran on."""


def write_model(
    out: Path, plan: Plan, network: Network, outcome: Outcome, fresh: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Calibrate and score a trained network; write the model and ``metrics.json``.

    Weights are rounded to what the file stores before anything is measured, so that the scores are
    those of the file.

    Args:
        out: The run folder.
        plan: What was trained, and on what.
        network: With the weights of the best epoch.
        outcome: How training went.
        fresh: Task -> classes that were new to the model that the run started from.

    Returns:
        The content of ``metrics.json``.
    """
    config, dataset, tasks, scaler = plan.config, plan.dataset, plan.tasks, plan.scaler
    train_part = plan.train_part
    round_to_stored(network)
    absent = {task: absent_classes(train_part.labels[task], len(tasks[task])) for task in tasks}
    found = measure(network, config, dataset, tasks, absent, scaler)
    metrics: dict[str, Any] = {
        "model": config.model.name,
        "protocol": config.data.split,
        "seed": config.seed,
        "dataset": {"name": dataset.info.name, "hash": dataset.hash, "rows": len(dataset)},
        "epochs": outcome.epochs,
        "train_samples_per_s": outcome.samples_per_s,
        "minutes": outcome.minutes,
        "parts": found.parts,
        "flow_parts": found.flow_parts,
        "reject": found.reject,
    }
    names = {task: [tasks[task][i] for i in indices] for task, indices in absent.items()}
    card = ModelCard(
        tasks=tasks,
        config=config,
        absent=names,
        pairs=label_pairs(train_part.labels, tasks),
        dataset=metrics["dataset"]
        | {"split": config.data.split, "train_rows": len(train_part)}
        | {f"{name}_rows": rows for name, rows in found.rows.items()}
        | ({} if scaler is None else {"synthesised_rows": int((train_part.row < 0).sum())}),
        training=asdict(outcome)
        | {"seed": config.seed}
        | ({"init": plan.start.to_dict()} if plan.start else {}),
        notes=[
            *_started(plan, fresh),
            *_notes(plan, names, metrics["parts"]["test"]),
        ],
        features=() if scaler is None or dataset.info.features is None else dataset.info.features.selected,
        **found.card_fields(),
    )
    save_model(out, network, card, scaler)
    write_json(out / "metrics.json", metrics)
    return metrics


def _started(plan: Plan, fresh: Mapping[str, Sequence[str]]) -> list[str]:
    if plan.start is None:
        return []
    notes = [f"Started from the weights of {Path(plan.start.path).name} (sha256 {plan.start.hash[:16]})."]
    notes += [f"{task}: {', '.join(labels)} were new to them." for task, labels in fresh.items() if labels]
    frozen = plan.config.train.freeze
    return notes + ([f"Not trained: {', '.join(frozen)}."] if frozen else [])


def _notes(plan: Plan, absent: Mapping[str, Sequence[str]], scores: Mapping[str, Scores]) -> list[str]:
    notes = [
        f"{task}: no training sample of {', '.join(labels)}; never predicted."
        for task, labels in absent.items()
        if labels
    ]
    notes += [f"{task}: no label in the training part, not learned." for task in plan.untrained]
    for task, row in scores.items():
        classes = len(plan.tasks[task])
        if row["classes"] < classes:
            notes.append(f"{task}: {row['classes']} of {classes} classes have test samples.")
    return notes
