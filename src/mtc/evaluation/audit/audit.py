"""An audit of a dataset: what its parts share, what gives its labels away, what its scores are worth."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtc import __version__
from mtc.datasets import Dataset
from mtc.datasets.flow_features.samples import scale_samples
from mtc.errors import UsageError
from mtc.evaluation.audit.fields import FOLDS, audit_fields, field_table
from mtc.evaluation.audit.occlusion import OCCLUSION_ROWS, occlude, occlusions
from mtc.evaluation.audit.scores import (
    HONEST,
    audit_scores,
    draw_flows,
    draw_rows,
    gap_table,
    protocols,
)
from mtc.evaluation.audit.sharing import audit_splits
from mtc.evaluation.audit.verdict import findings, honest_scores, verdict
from mtc.evaluation.predictions import match_labels, shared_tasks
from mtc.inference import find_model
from mtc.models import load_model

FORMAT_VERSION = 1
"""Version of ``audit.json``."""

Progress = Callable[[str, int, int], None]
"""Called with the step that is being done, how much of it is done, and how much there is."""

ENDPOINTS = {
    "packets": "Samples hold no addresses, so hosts cannot be distinguished: pairs of ports, with protocol, "
    "are what can be compared (port_pairs). Flows, which are distinguished by addresses too, were numbered "
    "when the dataset was built.",
    "features": "Flow features hold neither addresses nor source ports: endpoints cannot be compared.",
}


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Settings of an audit."""

    shallow: str = "extra-trees"
    """The shallow model that is trained on splits and masks."""
    rows: int = 50_000
    """Most rows that fields are measured on, and that a part is trained or tested on."""
    seed: int = 1


def audit(
    dataset: Dataset,
    model: str | Path | None = None,
    settings: AuditSettings | None = None,
    *,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Any]:
    """Audit a dataset.

    Args:
        dataset: Of packets, or of flow features.
        model: A run folder or bundled model whose verdicts are looked into.
        settings: How thoroughly.
        progress: Called before every step, and as it goes on.

    Returns:
        The content of ``audit.json``, see docs/audit.md.

    Raises:
        DatasetError: The dataset is damaged.
        ModelError: The model cannot be read.
        UsageError: Model and dataset share no task, or LightGBM is not installed where it is requested.
    """
    settings = settings or AuditSettings()
    info = dataset.info
    if info.kind not in ENDPOINTS:
        raise UsageError(f"{dataset.path}: an audit is of packets or flow features, not of {info.kind}")
    result: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "mtc_version": __version__,
        "dataset": {
            "name": info.name,
            "hash": dataset.hash,
            "kind": info.kind,
            "rows": len(dataset),
            "flows": None if info.features is not None else info.flows.with_rows,
            "captures": len(info.captures),
            "tasks": {task: list(classes) for task, classes in dataset.tasks.items()},
        },
        "settings": {**asdict(settings), "folds": FOLDS, "model": None if model is None else str(model)},
    }
    progress("comparing the parts of every split", 0, 1)
    result["splits"] = audit_splits(dataset)
    result["endpoints"] = ENDPOINTS[info.kind]
    result["fields"] = _fields(dataset, settings, progress)
    step = _Step(f"training and testing {settings.shallow}", len(protocols(dataset)), progress)
    result["scores"] = audit_scores(
        dataset, settings.shallow, rows=settings.rows, seed=settings.seed, advance=step.advance
    )
    result["gap"] = gap_table(result["scores"], info.kind, dataset.tasks)
    result["occlusion"] = None if model is None else _occlusion(dataset, model, settings, progress)
    result["findings"] = findings(result)
    result["honest"] = honest_scores(result)
    result["verdict"] = verdict(result)
    return result


class _Step:
    """Counts what is done of a step, and reports it."""

    def __init__(self, name: str, total: int, progress: Progress) -> None:
        self._name, self._total, self._progress = name, total, progress
        self._done = 0
        self.advance(0)

    def advance(self, done: int = 1) -> None:
        """So much more is done."""
        self._done += done
        self._progress(self._name, self._done, self._total)


def _fields(dataset: Dataset, settings: AuditSettings, progress: Progress) -> list[dict[str, Any]]:
    honest = HONEST[dataset.info.kind]
    split = honest if honest in dataset.splits else dataset.splits[0]
    samples = draw_flows(dataset.part(split, "all"), settings.rows, settings.seed)
    features = dataset.info.features
    table = field_table(samples, () if features is None else features.selected)
    step = _Step("predicting the labels from single fields", len(table.names), progress)
    return audit_fields(samples, table, dataset.tasks, seed=settings.seed, advance=step.advance)


def _occlusion(
    dataset: Dataset, model: str | Path, settings: AuditSettings, progress: Progress
) -> dict[str, Any]:
    loaded = load_model(find_model(model))
    config = loaded.card.config.data
    part = "test" if dataset.hash == loaded.card.dataset.get("hash") else "all"
    split = config.split if config.split in dataset.splits else dataset.splits[0]
    tasks = shared_tasks(loaded.card, dataset)
    samples = draw_rows(dataset.part(split, part, mask=config.mask), OCCLUSION_ROWS, settings.seed)
    samples = scale_samples(samples, loaded.scaler)
    classes, labels = match_labels(tasks, dataset.tasks, samples.labels)
    step = _Step(f"hiding fields from {model}", len(samples) * occlusions(samples), progress)
    found = occlude(loaded, samples, labels, classes, advance=step.advance)
    return {"model": str(model), "part": part, "split": split, **found}
