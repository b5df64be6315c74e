"""Results of runs that never were: predictions drawn at random, scored by the package's own scores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtc.config import load_recipe
from mtc.metrics import score
from mtc.tasks import CICIDS2017, ISCX

DATASETS = {"iscx": ("ISCX VPN-nonVPN 2016", ISCX), "cicids2017": ("cicids2017", CICIDS2017)}
# Of five predictions, how many are right: by split.
RIGHT = {"packet": 0.9, "flow": 0.6, "paper": 0.99, "honest": 0.98}


def draw_scores(classes: Sequence[str], right: float, seed: int, samples: int = 400) -> dict[str, Any]:
    """Scores of predictions of which about ``right`` are right; the last class has no sample."""
    rng = np.random.default_rng([seed, len(classes), round(100 * right)])
    labels = rng.integers(0, max(len(classes) - 1, 2), samples)
    said = np.where(rng.random(samples) < right, labels, rng.integers(0, len(classes), samples))
    probabilities = np.full((samples, len(classes)), 0.3 / len(classes))
    probabilities[np.arange(samples), said] += 0.7 * rng.random(samples)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return score(labels, probabilities, classes, flow=labels * 40 + rng.integers(0, 40, samples), rare=[])


def result(
    recipe: str, split: str, seed: int, *, right: float = 0.0, settings: Sequence[str] = (), log: int = 6
) -> dict[str, Any]:
    """The content of ``results/NAME.json``."""
    name, tasks = DATASETS[recipe.split("-", 1)[0]]
    config = load_recipe(recipe, [f"data.split={split}", f"seed={seed}", *settings])
    tasks = {task: tasks[task] for task in config.data.tasks or tasks}
    parts = {
        part: {task: draw_scores(classes, right or RIGHT[split], seed) for task, classes in tasks.items()}
        for part in ("validation", "test")
    }
    return {
        "protocol": split,
        "seed": seed,
        "dataset": {"name": name, "hash": "0" * 64, "rows": 1000},
        "epochs": log,
        "train_samples_per_s": 100.0,
        "minutes": 8.0,
        "parts": parts,
        "flow_parts": parts,
        "run": {
            "recipe": recipe,
            "command": f"mtc train {recipe} --data data/x --out results/work/x --set seed={seed}",
            "budget_minutes": 8.0,
            "rows": {"train": 640, "validation": 160, "test": 200},
            "training": {"epochs": log, "minutes": 8.0, "samples_per_s": 100.0, "machine": "x86_64",
                         "precision": "fp32"},
            "config": config.to_dict(),
            "log": {
                "epoch": [float(i + 1) for i in range(log)],
                "minutes": [8.0 * (i + 1) / log for i in range(log)],
                "train_loss": [2.0 / (i + 1) for i in range(log)],
                "validation_loss": [2.0 / (i + 1) + 0.1 * seed for i in range(log)],
                "validation_f1": [0.5 * (i + 1) / log for i in range(log)],
            },
        },
    }  # fmt: skip


def sweep_result(
    setting: str, values: Sequence[Any], paper: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The content of a ``sweep.json`` of which the last point has no run yet."""
    points = []
    for number, value in enumerate(values):
        done = number < len(values) - 1
        scores = {"macro_f1": {"mean": 0.5 + number / 100, "half_width": 0.02, "count": 3},
                  "macro_recall": {"mean": 0.6, "half_width": None, "count": 1}}  # fmt: skip
        parts = {"application": scores, "traffic": scores} if done else {}
        points.append(
            {"settings": {setting: value}, "seeds": [1, 2, 3] if done else [],
             "failed": {} if done else {"1": "its loss is no number"},
             "validation": {"mean": 0.5, "half_width": None, "count": 1} if done else None,
             "parts": parts, "flow_parts": parts, "paper": paper or {}}
        )  # fmt: skip
    dataset = {"name": "ISCX VPN-nonVPN 2016", "hash": "0" * 64, "rows": 1000}
    return {"title": f"of {setting}", "split": "flow", "dataset": dataset, "seeds": [1, 2, 3], "best": 0,
            "points": points}  # fmt: skip


def audit_result(*audited: str) -> dict[str, Any]:
    """The content of an ``audit.json`` of ISCX tasks (all, or some), laid out as docs/audit.md says."""
    tasks = {task: list(classes) for task, classes in ISCX.items() if not audited or task in audited}
    shared = {"distinct": 10, "shared": 2, "test_rows": 5, "share": 0.25, "other_label": {}}

    def each(**scores: Any) -> dict[str, Any]:
        return {task: dict(scores) for task in tasks}

    def field(number: int, name: str, verdict: str) -> dict[str, Any]:
        scores = each(
            majority=0.05, chance=0.1, by_packet=0.9 - number / 10, by_flow=0.8 - number / 10,
            by_capture=None, lift=0.7 - number / 10, memory=0.1, verdict=verdict,
        )  # fmt: skip
        return {"field": name, "identifying": number == 0, "rows": 900, "tasks": scores}

    def split(leaks: bool) -> dict[str, Any]:
        return {
            "rows": {"train": 640, "validation": 160, "test": 200},
            "flows": shared,
            "captures": shared,
            "port_pairs": None,
            "duplicates": {"exact": shared, "payload": shared},
            "leaks": leaks,
        }

    names = (("src_port", "label"), ("ip_ttl", "shortcut"), ("ip_length", "signal"), ("tcp_flags", "none"))
    finding = {"kind": "shortcut", "task": "application", "split": None, "field": "src_port", "value": 0.8}
    return {
        "format_version": 1,
        "mtc_version": "0.1.0",
        "dataset": {"name": "ISCX VPN-nonVPN 2016", "hash": "0" * 64, "kind": "packets", "rows": 1000,
                    "flows": 100, "captures": 9, "tasks": tasks},
        "settings": {"seed": 1, "folds": 5, "rows": 1000, "shallow": "extra-trees", "model": "runs/x"},
        "splits": {"flow": split(leaks=False), "packet": split(leaks=True)},
        "endpoints": "Samples hold no addresses.",
        "fields": [field(i, *names[i]) for i in range(len(names))],
        "scores": [
            {"model": "extra-trees", "inputs": "bytes", "split": "flow", "mask": "paper", "train_rows": 640,
             "test_rows": 200, "tasks": each(macro_f1=0.6, macro_recall=0.6)}
        ],
        "gap": each(packet=0.9, flow=0.6, difference=0.3, paper=0.6, strict=0.5, mask_difference=0.1),
        "occlusion": {
            "model": "runs/x",
            "part": "test",
            "rows": 200,
            "whole": dict.fromkeys(tasks, 0.6),
            "hidden": [
                {"group": "ports", "fields": ["src_port"], "tasks": each(macro_f1=0.4, drop=0.2)},
                {"group": "ttl", "fields": ["ip_ttl"], "tasks": each(macro_f1=0.61, drop=-0.01)},
            ],
        },
        "findings": [{**finding, "text": "src_port alone tells the application on 80 % of unseen flows."}],
        "honest": {},
        "verdict": ["Under a split by packet the scores flatter by 30 points."],
    }  # fmt: skip


def write_results(folder: Path, named: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write results by name into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in named.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def open_set_result() -> dict[str, Any]:
    """The content of a file of scripts/open_set.py, of one task, two of four groups done."""
    steps = [i / 10 for i in range(1, 11)]
    curve = [{"coverage": x, "accuracy": 1 - x / 4, "unknown_kept": x * x} for x in steps]
    scores = {
        name: {"auroc": 0.8, "fpr_at_95_tpr": 0.6, "coverage": curve} for name in ("probability", "energy")
    }
    threshold = {
        "score": "energy",
        "kept_known": 0.9,
        "rejected_unknown": 0.5,
        "accuracy": 0.7,
        "accuracy_kept": 0.75,
    }
    found = {"known": 100, "unknown": 50, "scores": scores, "best": "energy", "threshold": threshold}
    means = {
        f"{name}_{number}": 0.7 for name in ("probability", "energy") for number in ("auroc", "fpr_at_95_tpr")
    }
    means |= {"kept_known": 0.9, "rejected_unknown": 0.5, "accuracy": 0.7, "accuracy_kept": None}
    runs = [
        {
            "task": "application",
            "group": group,
            "held_out": ["Email"],
            "minutes": 1.0,
            "macro_f1_known": 0.6,
            "packet": found,
            "flow": found,
        }
        for group in (1, 2)
    ]
    return {"kind": "open-set", "recipe": "iscx-cnn", "model": "cnn", "split": "flow", "seed": 1,
            "config": {}, "dataset": {"name": "ISCX VPN-nonVPN 2016", "hash": "0" * 64}, "runs": runs,
            "mean": {"application": {"packet": means, "flow": means}}}  # fmt: skip


def paired_result() -> dict[str, Any]:
    """What ``mtc compare --paired --json`` prints, of one task."""
    row = {"first": 0.6, "second": 0.65, "difference": 0.05, "interval": [0.01, 0.09], "above_zero": 0.98,
           "by_pair": [0.04, 0.06], "counted": ["Email", "Skype"], "flows": 60}  # fmt: skip
    tasks = {"application": {per: {"all": row, "common": None} for per in ("packet", "flow")}}
    return {"first": ["runs/trees-1", "runs/trees-2"], "second": ["runs/mtc-1", "runs/mtc-2"],
            "split": "flow", "part": "test", "common_flows": 30, "tasks": tasks}  # fmt: skip
