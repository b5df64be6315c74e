"""Whether the reasons of a model hold: deletes what they name, and as much at random.

    python scripts/faithfulness.py data/iscx-mini [--model iscx] [--task application] [--packets 200]
                                   [--figure docs/images/faithfulness.png]

Packets are drawn from the test part of the model's split. Prints the table of docs/explain.md.
"""

import argparse
from pathlib import Path

import numpy as np

from mtc.datasets import Dataset
from mtc.inference import Classifier
from mtc.inference.explain.faithfulness import faithfulness
from mtc.report.figures.reasons import faithfulness_figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="iscx")
    parser.add_argument("--task")
    parser.add_argument("--packets", type=int, default=200)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    model = Classifier.load(options.model).model
    part = Dataset.open(options.dataset).part(model.card.config.data.split, "test")
    count = min(options.packets, len(part))
    rows = np.sort(np.random.default_rng(1).choice(len(part), count, replace=False))
    found = faithfulness(model, part.dense(rows), options.task)
    print(f"{found.packets} packets, mean confidence {found.whole:.3f}")
    print(f"| fields deleted | {' | '.join(map(str, found.named))} |")
    print("|---" * (len(found.named) + 1) + "|")
    for name, values in (("those named first", found.named), ("as many at random", found.random)):
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values.values())} |")
    if options.figure:
        options.figure.write_bytes(faithfulness_figure(found).png)


if __name__ == "__main__":
    main()
