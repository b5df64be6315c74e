"""An audit of a dataset: what its parts share, what gives its labels away, what its scores are worth."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtc import __version__
from mtc.datasets import Dataset
from mtc.datasets.features_samples import are_features, scale_samples
from mtc.evaluation.audit_fields import FOLDS, audit_fields, field_table
from mtc.evaluation.audit_occlusion import OCCLUSION_ROWS, occlude
from mtc.evaluation.audit_scores import HONEST, audit_scores, draw_flows, draw_rows, gap_table
from mtc.evaluation.audit_sharing import audit_splits
from mtc.evaluation.audit_verdict import findings, honest_scores, verdict
from mtc.evaluation.matching import match_labels, shared_tasks
from mtc.inference import find_model
from mtc.models import load_model

FORMAT_VERSION = 1
"""Version of ``audit.json``."""

ENDPOINTS = {
    "packets": "Samples hold no addresses, so hosts cannot be told apart: pairs of ports, with protocol, are "
    "what can be compared (port_pairs). Flows, which are told apart by addresses too, were numbered when the "
    "dataset was built.",
    "features": "Flow features hold neither addresses nor source ports: endpoints cannot be compared.",
}


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """How thoroughly an audit looks."""

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
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Audit a dataset.

    Args:
        dataset: Of packets, or of flow features.
        model: A run folder or bundled model whose verdicts are looked into.
        settings: How thoroughly.
        report: Called with a line before every step.

    Returns:
        The content of ``audit.json``, see docs/audit.md.

    Raises:
        DatasetError: The dataset is damaged.
        ModelError: The model cannot be read.
        UsageError: Model and dataset share no task, or LightGBM is not installed where it is asked for.
    """
    settings = settings or AuditSettings()
    info = dataset.info
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
    report("comparing the parts of every split")
    result["splits"] = audit_splits(dataset)
    result["endpoints"] = ENDPOINTS[info.kind]
    report("predicting the labels from one field after the other")
    result["fields"] = _fields(dataset, settings)
    report(f"training and testing {settings.shallow} on splits and under masks")
    result["scores"] = audit_scores(dataset, settings.shallow, rows=settings.rows, seed=settings.seed)
    result["gap"] = gap_table(result["scores"], info.kind, dataset.tasks)
    if model is not None:
        report(f"hiding fields from {model}")
    result["occlusion"] = None if model is None else _occlusion(dataset, model, settings)
    result["findings"] = findings(result)
    result["honest"] = honest_scores(result)
    result["verdict"] = verdict(result)
    return result


def _fields(dataset: Dataset, settings: AuditSettings) -> list[dict[str, Any]]:
    honest = HONEST[dataset.info.kind]
    split = honest if honest in dataset.splits else dataset.splits[0]
    samples = draw_flows(dataset.part(split, "all"), settings.rows, settings.seed)
    features = dataset.info.features
    table = field_table(samples, () if features is None else features.selected)
    return audit_fields(samples, table, dataset.tasks, seed=settings.seed)


def _occlusion(dataset: Dataset, model: str | Path, settings: AuditSettings) -> dict[str, Any]:
    loaded = load_model(find_model(model))
    config = loaded.card.config.data
    part = "test" if dataset.hash == loaded.card.dataset.get("hash") else "all"
    split = config.split if config.split in dataset.splits else dataset.splits[0]
    tasks = shared_tasks(loaded.card, dataset)
    samples = draw_rows(dataset.part(split, part, mask=config.mask), OCCLUSION_ROWS, settings.seed)
    samples = scale_samples(samples, loaded.scaler)
    classes, labels = match_labels(tasks, dataset.tasks, samples.labels)
    assert are_features(samples) == bool(loaded.card.features)
    found = occlude(loaded, samples, labels, classes)
    return {"model": str(model), "part": part, "split": split, **found}
