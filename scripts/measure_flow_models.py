"""Measure models of flows on captures of other people, beside the largest class.

    python scripts/measure_flow_models.py ../shared/data/labelled-captures today iscx

Flows with three or more packets with payload and a type by nDPI or nfstream are scored by their family
(``VPN `` taken off). No model reads a name here. Answered are verdicts above the model's own threshold.
"""

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from mtc.flows.stream import read_sequences
from mtc.inference import Classifier

FAMILIES = ("Chat", "Email", "File Transfer", "Streaming", "Torrent", "VoIP")
LEAST = 3
DRAWS = 1000

Key = tuple[str, frozenset[tuple[str, str]]]


def main(folder: Path, models: list[str]) -> None:
    """Print a row for each model."""
    truth = read_truth(folder)
    captures = sorted({capture for capture, _ in truth})
    labels: dict[Key, str] = {}
    for capture in captures:
        rows, records, _ = read_sequences(folder / "captures" / capture)
        for at in np.flatnonzero(rows[:, 2] >= LEAST).tolist():
            row = records.row(at)
            key = key_of(capture, row["src"], row["src_port"], row["dst"], row["dst_port"])
            if key in truth:
                labels[key] = truth[key]
    keys = sorted(labels, key=str)
    true = np.array([FAMILIES.index(labels[key]) for key in keys])
    groups = np.unique([capture for capture, _ in keys], return_inverse=True)[1]
    largest, count = Counter(labels.values()).most_common(1)[0]
    size, share = groups.max() + 1, count / len(keys)
    print(f"{len(keys)} flows of {size} captures; always {largest}: accuracy {share:.3f}")
    print("model: accuracy, macro F1 [95 %, captures drawn]; answered, right among them")
    for name in models:
        named, sure, threshold = verdicts(name, folder, captures, keys)
        right, answered = named == true, sure >= threshold
        draws = [macro_f1(true[rows], named[rows]) for rows in bootstrap(groups)]
        low, high = np.quantile(draws, [0.025, 0.975])
        good = right[answered].mean() if answered.any() else float("nan")
        print(
            f"{name}: {right.mean():.3f}, {macro_f1(true, named):.3f} [{low:.3f}, {high:.3f}]; "
            f"{answered.mean():.3f}, {good:.3f}"
        )


def read_truth(folder: Path) -> dict[Key, str]:
    """Family of each flow that nDPI's or nfstream's results give a type."""
    spelled = {family.lower(): family for family in FAMILIES}
    found: dict[Key, str] = {}
    for file in ("other-flows.csv", "ndpi-flows.csv"):
        with (folder / file).open(encoding="utf-8") as opened:
            for row in csv.DictReader(opened):
                family = spelled.get(row["type6"].lower())
                if family is not None:
                    port = row.get("sport", ""), row.get("dport", "")
                    found[key_of(row["file"], row["src"], port[0], row["dst"], port[1])] = family
    return found


def key_of(capture: str, src: object, src_port: object, dst: object, dst_port: object) -> Key:
    """A flow, whichever side sent first."""
    return capture, frozenset({(str(src), str(src_port)), (str(dst), str(dst_port))})


def verdicts(
    name: str, folder: Path, captures: list[str], keys: list[Key]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Family (-1: none of them), confidence of each flow, and the model's threshold."""
    classifier = Classifier.load(name)
    task = "traffic"
    rejection = classifier.model.card.reject[task]["flow"]
    found: dict[Key, tuple[int, float]] = {}
    for capture in captures:
        for row in classifier.classify(folder / "captures" / capture):
            if row[task]:
                family = max(row[task]["probabilities"], key=row[task]["probabilities"].get)
                family = family.removeprefix("VPN ")
                number = FAMILIES.index(family) if family in FAMILIES else -1
                key = key_of(capture, row["src"], row["src_port"], row["dst"], row["dst_port"])
                found.setdefault(key, (number, max(row[task]["probabilities"].values())))
    pairs = [found.get(key, (-1, 0.0)) for key in keys]
    threshold = float(rejection["threshold"]) if rejection["score"] == "probability" else 0.5
    return np.array([n for n, _ in pairs]), np.array([p for _, p in pairs]), threshold


def macro_f1(true: np.ndarray, named: np.ndarray) -> float:
    """Mean F1 over the families that occur."""
    scores = []
    for family in np.unique(true):
        hits = np.count_nonzero((true == family) & (named == family))
        scores.append(2 * hits / (np.count_nonzero(true == family) + np.count_nonzero(named == family)))
    return float(np.mean(scores))


def bootstrap(groups: np.ndarray) -> list[np.ndarray]:
    """Rows of groups drawn with replacement."""
    rng = np.random.default_rng(1)
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    return [
        np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        for _ in range(DRAWS)
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
