"""Measure trees on flow sequences on laboratory recordings, beside the probe.

The probe reads duration, packets, bytes and protocol alone.

    python scripts/measure_laboratory.py ../shared/data/lab

Six families, flows with three or more packets with payload; plain flows after 16 packets, tunnels after 32.
Every program is predicted by trees that never saw it (leave one program out); seeds 1 to 3; intervals by
bootstrap over programs. Then programs that were seen, one kind of tunnel held out, and unknown programs.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from mtc.flows.augment import augment
from mtc.flows.sequences import ROW_BYTES
from mtc.flows.shape import SHAPE, shapes
from mtc.flows.stream import read_sequences
from mtc.training.scoring.cuts import separation

FAMILIES = ("Chat", "Email", "File Transfer", "Streaming", "Torrent", "VoIP")
COPIES, LEAF, SEEDS, DRAWS = 6, 5, (1, 2, 3), 500
PROBE = [SHAPE.index(name) for name in ("duration", "both_packets", "both_bytes", "protocol")]


def main(folder: Path) -> None:
    """Print all tables."""
    flows = read(folder)
    for name, packets in (("plain", 16), ("tunnels", 32)):
        tunnel = flows["tunnel"] != "plain"
        chosen = {key: values[tunnel == (name == "tunnels")] for key, values in flows.items()}
        by_program(name, chosen, packets)
        seen(name, chosen, packets)
        if name == "tunnels":
            tunnels(chosen)
        unknown(name, chosen, packets)


def read(folder: Path) -> dict[str, np.ndarray]:
    """Sequences, families, programs, tunnels and captures of the recordings."""
    columns: dict[str, list] = {name: [] for name in ("rows", "family", "program", "tunnel", "capture")}
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            family = row["traffic"].removeprefix("VPN ")
            if family not in FAMILIES:
                continue
            for sequence in read_sequences(folder / row["capture"])[0]:
                if sequence[2] >= 3:
                    values = sequence, FAMILIES.index(family), row["program"], row["tunnel"], row["capture"]
                    for name, value in zip(columns, values, strict=True):
                        columns[name].append(value)
    return {name: np.array(values) for name, values in columns.items()}


def grow(
    rows: np.ndarray, labels: np.ndarray, packets: int, seed: int, *, probe: bool
) -> ExtraTreesClassifier:
    """Trees on flows and their copies; the probe has no copies."""
    rng = np.random.default_rng(seed)
    copies = [] if probe else [augment(rows, rng, crop=0.3, cut=0.3) for _ in range(COPIES)]
    values = shapes(np.concatenate([rows, *copies]), packets)
    tried, leaf = (None, 1) if probe else (0.2, LEAF)
    trees = ExtraTreesClassifier(
        100,
        class_weight="balanced",
        max_features=tried,
        min_samples_leaf=leaf,
        random_state=seed,
        n_jobs=2,
    )
    return trees.fit(values[:, PROBE] if probe else values, np.tile(labels, len(copies) + 1))


def probabilities(trees: ExtraTreesClassifier, rows: np.ndarray, packets: int, *, probe: bool) -> np.ndarray:
    """Mean votes, (N, families)."""
    values = shapes(np.ascontiguousarray(rows.reshape(-1, ROW_BYTES)), packets)
    found = np.zeros((len(rows), len(FAMILIES)))
    found[:, trees.classes_] = trees.predict_proba(values[:, PROBE] if probe else values)
    return found


def by_program(name: str, flows: dict[str, np.ndarray], packets: int) -> None:
    """Leave one program out."""
    programs = np.unique(flows["program"], return_inverse=True)[1]
    for probe in (True, False):
        scores, draws = [], []
        for seed in SEEDS:
            named = np.zeros(len(programs), int)
            for program in range(programs.max() + 1):
                test = programs == program
                trees = grow(flows["rows"][~test], flows["family"][~test], packets, seed, probe=probe)
                named[test] = probabilities(trees, flows["rows"][test], packets, probe=probe).argmax(1)
            scores.append(macro_f1(flows["family"], named))
            rng = np.random.default_rng(seed)
            members = [np.flatnonzero(programs == program) for program in range(programs.max() + 1)]
            for _ in range(DRAWS):
                rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
                draws.append(macro_f1(flows["family"][rows], named[rows]))
        low, high = np.quantile(draws, [0.025, 0.975])
        what = "probe" if probe else "trees"
        print(
            f"{name}, first {packets}, n = {len(programs)}, one program left out, {what}: "
            f"{np.mean(scores):.3f} [{low:.3f}, {high:.3f}]",
            flush=True,
        )


def seen(name: str, flows: dict[str, np.ndarray], packets: int) -> None:
    """Programs that were seen, other captures of them: five folds by capture."""
    captures = np.unique(flows["capture"], return_inverse=True)[1]
    fold = np.random.default_rng(1).permutation(captures.max() + 1)[captures] % 5
    named = np.zeros(len(fold), int)
    for k in range(5):
        trees = grow(flows["rows"][fold != k], flows["family"][fold != k], packets, 1, probe=False)
        named[fold == k] = probabilities(trees, flows["rows"][fold == k], packets, probe=False).argmax(1)
    print(f"{name}, programs seen, by capture: macro F1 {macro_f1(flows['family'], named):.3f}", flush=True)


def tunnels(flows: dict[str, np.ndarray]) -> None:
    """Train on one kind of tunnel, test on the other."""
    for tunnel in np.unique(flows["tunnel"]):
        test = flows["tunnel"] == tunnel
        trees = grow(flows["rows"][~test], flows["family"][~test], 32, 1, probe=False)
        named = probabilities(trees, flows["rows"][test], 32, probe=False).argmax(1)
        right = (named == flows["family"][test]).mean()
        print(
            f"tested on {tunnel}: accuracy {right:.3f}, macro F1 {macro_f1(flows['family'][test], named):.3f}"
        )


def unknown(name: str, flows: dict[str, np.ndarray], packets: int) -> None:
    """Whether unsureness gives programs away that were not trained on: every fifth program held out."""
    programs, number = np.unique(flows["program"], return_inverse=True)
    areas, rejected = [], []
    for k in range(5):
        held = np.random.default_rng(1).permutation(len(programs))[number] % 5 == k
        captures = np.unique(flows["capture"][~held])
        kept_back = np.random.default_rng(k).choice(captures, len(captures) // 5, replace=False)
        test = ~held & np.isin(flows["capture"], kept_back)
        train = ~held & ~test
        trees = grow(flows["rows"][train], flows["family"][train], packets, 1, probe=False)
        known, new = (
            1 - probabilities(trees, flows["rows"][rows], packets, probe=False).max(1)
            for rows in (test, held)
        )
        areas.append(separation(np.r_[known, new], np.repeat([False, True], [len(known), len(new)])))
        rejected.append((new > np.quantile(known, 0.9)).mean())
    print(
        f"{name}, unknown programs: AUROC of unlike {np.mean(areas):.3f}, "
        f"at 90 % kept of the known {np.mean(rejected):.3f} of the unknown rejected",
        flush=True,
    )


def macro_f1(true: np.ndarray, named: np.ndarray) -> float:
    """Mean F1 over the families that occur."""
    scores = []
    for family in np.unique(true):
        hits = np.count_nonzero((true == family) & (named == family))
        scores.append(2 * hits / (np.count_nonzero(true == family) + np.count_nonzero(named == family)))
    return float(np.mean(scores))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
