"""Measure the faster modes of a trained MTC on the validation part, and store them beside its weights.

    python scripts/measure_modes.py MODEL DATASET [--bf16]

A run does this at its end, where the processor can; here it is done for a model that was trained before,
or elsewhere. With --bf16 bfloat16 is measured too, on a processor that has it not.
"""

import argparse
from pathlib import Path

from mtc.datasets import Dataset
from mtc.models import MTC, load_model
from mtc.models.measure_modes import measure_modes
from mtc.models.modes import MODES_FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    model = load_model(options.model)
    if not isinstance(model.network, MTC):
        parser.error("only MTC has faster modes")
    data = model.card.config.data
    part = Dataset.open(options.dataset).part(data.split, "validation", mask=data.mask)
    modes = measure_modes(model.network, part.data, part.offsets, bf16=options.bf16 or None)
    (options.model / MODES_FILE).write_text(modes.to_json(), encoding="utf-8")
    for name, mode in modes.measured.items():
        shares = ", ".join(f"{task} {share:.2%}" for task, share in mode.plain.items())
        print(f"{name}: {shares} on {mode.samples} packets; {mode.again:.1%} computed again, then")
        print("  " + ", ".join(f"{task} {share:.2%}" for task, share in mode.agreement.items()))


if __name__ == "__main__":
    main()
