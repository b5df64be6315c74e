"""Score the shallow baseline on a dataset: python scripts/baseline.py DATASET --out baseline.json."""

import argparse
import sys
from pathlib import Path

from mtc.config import DataConfig, RunConfig
from mtc.datasets import Dataset
from mtc.errors import MtcError
from mtc.evaluation.baseline import score_trees
from mtc.training.run_folder import write_json


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write, as metrics.json")
    parser.add_argument("--split", default="flow")
    parser.add_argument("--mask", default="paper")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=300, help="most boosting rounds")
    parser.add_argument("--threads", type=int, default=0, help="0 is all")
    options = parser.parse_args()
    config = RunConfig(seed=options.seed, data=DataConfig(split=options.split, mask=options.mask))
    try:
        metrics = score_trees(
            Dataset.open(options.dataset),
            config,
            rounds=options.rounds,
            threads=options.threads,
            report=lambda line: print(line, file=sys.stderr),
        )
        write_json(options.out, metrics)
    except MtcError as error:
        print(f"baseline: {error}", file=sys.stderr)
        return error.exit_status
    for task, scores in metrics["parts"]["test"].items():
        flows = metrics["flow_parts"]["test"][task]
        print(f"{task}: macro F1 {scores['macro_f1']:.3f} by packet, {flows['macro_f1']:.3f} by flow (test)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
