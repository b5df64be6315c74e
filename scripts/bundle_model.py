"""Put a finished run into the package: python scripts/bundle_model.py RUN NAME [--baseline JSON].

Copies the model file to src/mtc/assets/models/NAME and writes its card, CARD.md, from model.json (and
from the metrics.json of a run of boosted trees on the same dataset and split).

A model that is bundled already is measured anew in its place (temperatures, thresholds, pairs of labels,
scores, card) on the dataset that it was trained on:

    python scripts/bundle_model.py --complete iscx --data data/iscx-mini [--baseline JSON]

After a change of the networks' source, the fingerprints of all bundled models are written anew; a model whose
network now computes something else is refused:

    python scripts/bundle_model.py --stamp
"""

import argparse
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtc.datasets import Dataset
from mtc.models import ModelCard, load_model
from mtc.models.files.card import CARD, FORMAT_VERSION, WEIGHTS
from mtc.models.files.save import fingerprint
from mtc.models.probes import difference
from mtc.training.finish import recalibrate

MODELS = Path(__file__).resolve().parents[1] / "src" / "mtc" / "assets" / "models"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--baseline", type=Path, help="metrics.json of the run of trees")
    parser.add_argument("--command", default="", help="the command that made the run, for the card")
    parser.add_argument("--complete", metavar="NAME", help="measure a bundled model anew")
    parser.add_argument("--data", type=Path, help="with --complete: what the model was trained on")
    parser.add_argument("--stamp", action="store_true", help="write all fingerprints anew")
    options = parser.parse_args()
    if options.stamp:
        for path in sorted(MODELS.glob(f"*/{CARD}")):
            stamp(path.parent)
        return
    baseline = json.loads(options.baseline.read_text(encoding="utf-8")) if options.baseline else None
    if options.complete and options.data:
        complete(MODELS / options.complete, options.data, baseline)
        return
    if options.complete or not options.name:
        parser.error("give RUN and NAME, or --complete NAME and --data DATASET")
    folder = MODELS / options.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, CARD):
        shutil.copyfile(options.run / name, folder / name)
    write_card(folder, baseline, options.command)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder.relative_to(MODELS.parents[3])}: {size / 1e6:.1f} MB")


def complete(folder: Path, data: Path, baseline: dict[str, Any] | None) -> None:
    """Measure a model anew, and write its card by that; the command that made it is kept."""
    recalibrate(folder, Dataset.open(data))
    written = (folder / "CARD.md").read_text(encoding="utf-8").splitlines()
    command = next((line.split("`")[1] for line in written if line.startswith("- Command: ")), "")
    write_card(folder, baseline, command)
    print(f"{folder.name}: measured anew")


def stamp(folder: Path) -> None:
    """Write the fingerprint of a model anew; its weights stay."""
    model = load_model(folder)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob(WEIGHTS)}
    known, card = fingerprint(model.network, hashes), model.card
    if card.fingerprint and difference(card.fingerprint["logits"], known["logits"]):
        raise SystemExit(f"{folder.name}: its network now computes something else")
    card = replace(card, fingerprint=known, format_version=FORMAT_VERSION)
    (folder / CARD).write_text(card.to_json(), encoding="utf-8")
    print(f"{folder.name}: stamped")


def write_card(folder: Path, baseline: dict[str, Any] | None, command: str) -> None:
    """CARD.md from model.json."""
    card = load_model(folder).card
    if baseline and baseline["dataset"]["hash"] != card.dataset["hash"]:
        raise SystemExit("the baseline was scored on another dataset")
    text = "\n".join(_lines(folder.name, card, baseline, command)) + "\n"
    (folder / "CARD.md").write_text(text, encoding="utf-8")


def _lines(name: str, card: ModelCard, baseline: dict[str, Any] | None, command: str) -> list[str]:
    data, training = card.dataset, card.training
    lines = [
        f"# Model card: {name}",
        "",
        f"- Network: {_network(card)}.",
        f"- Data: {data['name']}, {data['rows']:,} samples (sha256 {data['hash'][:16]}...); "
        f"split by {data['split']}: {data['train_rows']:,} to train on, {data['validation_rows']:,} to "
        f"validate and calibrate on, {data['test_rows']:,} to test on.",
        f"- Training: seed {card.config.seed}, {training['epochs']} epochs begun (best: "
        f"{training['best_epoch']}), {training['minutes']:.1f} minutes, "
        f"{training['samples_per_s']:.0f} samples/s on {training['machine']} ({training['precision']}); "
        f"it ended by {training['ended']}.",
    ]
    if command:
        lines.append(f"- Command: `{command}`")
    lines += ["", "## Scores on the test part", ""]
    lines += _overall(card, baseline)
    for task in card.tasks:
        lines += ["", f"## {task}, by class", ""]
        lines += _by_class(card.metrics["parts"]["test"][task], card.metrics["flow_parts"]["test"][task])
    lines += ["", "## Limits", ""]
    lines += [f"- {note}" for note in (*card.notes, *_limits(card))]
    return lines


def _network(card: ModelCard) -> str:
    model = card.config.model
    if model.name == "fields":
        reads = f"the leading {model.leading_bytes} bytes" if model.leading_bytes else "flow features"
        text = f"`fields`, {model.members} members, {reads}"
    else:
        text = (
            f"`{model.name}`, n x d = {model.tokens} x {model.width}, CNN heads pooled `{model.cnn_pooling}`"
        )
    return text if card.features else f"{text}, mask `{card.config.data.mask}`"


def _overall(card: ModelCard, baseline: dict[str, Any] | None) -> list[str]:
    head = "| task | macro F1 | macro recall | accuracy | ECE | macro F1, flows | ECE, flows |"
    lines = [head + (" trees, macro F1 | trees, flows |" if baseline else "")]
    lines.append("|---|" + "---:|" * (8 if baseline else 6))
    for task in card.tasks:
        packet = card.metrics["parts"]["test"][task]
        flow = card.metrics["flow_parts"]["test"][task]
        values = [packet[key] for key in ("macro_f1", "macro_recall", "accuracy", "ece")]
        values += [flow["macro_f1"], flow["ece"]]
        if baseline:
            values += [baseline[part]["test"][task]["macro_f1"] for part in ("parts", "flow_parts")]
        lines.append(f"| {task} | " + " | ".join(_number(value) for value in values) + " |")
    if baseline:
        lines += ["", f"Trees: LightGBM, same split (`{baseline['model']}`)."]
    return lines


def _by_class(packet: dict[str, Any], flow: dict[str, Any]) -> list[str]:
    lines = ["| class | F1 | recall | samples | F1, flows | flows |", "|---|---:|---:|---:|---:|---:|"]
    for label, row in packet["per_class"].items():
        by_flow = flow["per_class"][label]
        cells = [_number(row["f1"]), _number(row["recall"]), f"{row['support']:,}"]
        cells += [_number(by_flow["f1"]), f"{by_flow['support']:,}"]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _limits(card: ModelCard) -> list[str]:
    if card.features:
        return [
            "Trained on flows that one network made in a week of 2017, each attack by a few scripts: the "
            "same attack by other means, and other networks, are outside what it has seen.",
            "One seed; Infiltration, Heartbleed and slow DoS have few rows or none.",
            "Rows that come twice are kept apart from the test part; rows of one attack are not.",
        ]
    return [
        "Trained on the beginnings of sessions recorded in 2015 and 2016, packets cut to 744 bytes: today's "
        "applications, and the middle of long transfers, are outside what it has seen.",
        "One seed, one split; rare classes (SFTP, Voipbuster, ICQ) have too few test flows for their scores "
        "to mean much.",
        "A verdict always names one of its classes: traffic of other applications gets one too.",
    ]


if __name__ == "__main__":
    main()
