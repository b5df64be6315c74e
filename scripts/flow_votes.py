"""What a flow's verdict is worth, and costs, by the packets it is made of:

    python scripts/flow_votes.py [--model iscx] [--data data/iscx-mini] [--figure docs/images/flow-votes.svg]

The test part of the dataset, flows of which the model saw no packet. Prints two tables as Markdown:
verdicts on the first k packets, and verdicts that are decided early, with the packets judged a flow; and
what conflicts between tasks tell about a verdict. Scores are those of ``mtc.metrics``.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import Dataset
from mtc.inference import Classifier, FlowAggregator
from mtc.inference.verdict_builder import VerdictBuilder
from mtc.metrics import score
from mtc.palette import SERIES
from mtc.tasks import vpn_classes
from mtc.training.scoring.scores import flows_by_capture

PACKETS = (1, 2, 3, 4, 5, 7, 10, 20)
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Found:
    """Verdicts on the flows of the test part."""

    f1: dict[str, float]
    ece: dict[str, float]
    judged: float
    probabilities: dict[str, NDArray[np.float32]]


class Test:
    """The test part, and what is true of it."""

    def __init__(self, model: str, data: Path) -> None:
        self.classifier = Classifier.load(model, precision="exact")
        card = self.classifier.model.card
        part = Dataset.open(data).part(card.config.data.split, "test", mask=card.config.data.mask)
        self.samples = part.dense()
        _, self.chosen, flow = np.unique(flows_by_capture(part), return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(self.chosen))  # number flows by their first packet
        self.flow, self.chosen = order[flow], np.sort(self.chosen)
        self.tasks = self.classifier.tasks
        self.packet_labels = part.labels
        self.labels = {task: part.labels[task][self.chosen] for task in self.tasks}

    def verdicts(self, packets: int, until: float | None = None) -> Found:
        votes = FlowAggregator(
            self.classifier.model, precision="exact", packets=packets, early=until, reuse=False
        )
        votes.add(self.samples, self.flow)
        _, judged, probabilities, _ = votes.result(len(self.chosen))
        scores = {t: score(self.labels[t], probabilities[t], self.tasks[t]) for t in self.tasks}
        return Found(
            {task: found["macro_f1"] for task, found in scores.items()},
            {task: found["ece"] for task, found in scores.items()},
            judged.sum() / len(self.chosen),
            dict(probabilities),
        )

    def of_packets(self) -> dict[str, float]:
        found = self.classifier.predict(self.samples)
        return {t: score(self.packet_labels[t], found[t], self.tasks[t])["macro_f1"] for t in self.tasks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="iscx")
    parser.add_argument("--data", type=Path, default=Path("data/iscx-mini"))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    test = Test(options.model, options.data)
    flows = len(test.chosen)
    print(f"{flows:,} flows of {len(test.flow):,} samples ({len(test.flow) / flows:.2f} a flow)\n")
    by_packets = {k: test.verdicts(k) for k in PACKETS}
    early = {c: test.verdicts(10, c) for c in CONFIDENCES}
    head = " | ".join([f"{task}, F1 (ECE)" for task in test.tasks])
    single = " | ".join(f"{f1:.3f}" for f1 in test.of_packets().values())
    print(f"| first packets | packets judged a flow | {head} |\n|---|---:|{'---:|' * len(test.tasks)}")
    print(f"| single packets, by packet | | {single} |")
    for k, found in by_packets.items():
        print(f"| {k} | {_cells(found)} |")
    print(f"\n| until | packets judged a flow | {head} |\n|---|---:|{'---:|' * len(test.tasks)}")
    for confidence, found in early.items():
        print(f"| {confidence:g} | {_cells(found)} |")
    print()
    _conflicts(test, by_packets[10])
    _vpn(test, by_packets[10])
    if options.figure:
        _draw(options.figure, by_packets, early)


def _cells(found: Found) -> str:
    scores = " | ".join(f"{found.f1[task]:.3f} ({found.ece[task]:.3f})" for task in found.f1)
    return f"{found.judged:.2f} | {scores}"


def _conflicts(test: Test, found: Found) -> None:
    """How often verdicts are right, with and without conflicts."""
    judge = VerdictBuilder(test.tasks, test.classifier.model.card.pairs)
    doubted = np.array([row["conflict"] is not None for row in judge.rows(found.probabilities)])
    print(f"conflicts: {doubted.sum():,} of {len(doubted):,} flows")
    for task, labels in test.labels.items():
        right = (found.probabilities[task].argmax(1) == labels)[labels >= 0]
        rows = doubted[labels >= 0]
        print(f"{task}: {right[rows].mean():.3f} right with a conflict, {right[~rows].mean():.3f} without")


def _vpn(test: Test, found: Found) -> None:
    told_by = vpn_classes(test.tasks)
    if told_by is None:
        return
    task, over = told_by
    labels = test.labels[task]
    truth = np.isin(labels, over)[labels >= 0]
    said = found.probabilities[task][:, list(over)].sum(1)[labels >= 0] >= 0.5
    print(f"vpn: {(truth == said).mean():.3f} right; {truth.mean():.3f} of the flows are over VPN")


def _draw(path: Path, by_packets: dict[int, Found], early: dict[float, Found]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for task, colour in zip(next(iter(by_packets.values())).f1, SERIES, strict=False):
        for found, style, label in ((by_packets, "o-", "first k"), (early, "s--", "until confidence")):
            points = [(each.judged, each.f1[task]) for each in found.values()]
            axes.plot(
                *zip(*points, strict=True), style, color=colour.light, markersize=4, label=f"{task}, {label}"
            )
    axes.set_xlabel("packets judged a flow")
    axes.set_ylabel("macro F1 of flows")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
