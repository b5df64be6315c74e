"""What a model says of current traffic, beside what nDPI and names say:

    python scripts/current_traffic.py [--model iscx] [--data ../shared/data/labelled-captures]

Every flow of the captures gets a verdict with rejection, and is matched by its five-tuple with the flows
that nDPI's own expected results, nfstream and server names label. Prints two tables as Markdown.
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mtc.capture import expand_inputs
from mtc.inference import Classifier

FAMILIES = {
    "chat": "All Chat",
    "email": "All Email",
    "file transfer": "All File Transfer",
    "streaming": "All Streaming",
    "torrent": "All Torrent",
    "VoIP": "All VoIP",
}
NAMES = {"YouTube": "Youtube"}
PROTOCOLS = {"6": "tcp", "17": "udp"}
SHOWN = 3

Key = tuple[str, str, frozenset[tuple[str, str]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="iscx")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/labelled-captures"))
    options = parser.parse_args()
    labelled = labels(options.data)
    rows = verdicts(options.model, options.data / "captures")
    classified = [row for row in rows if row["traffic"] is not None]
    found = [(row, labelled[key_of(row)]) for row in classified if key_of(row) in labelled]
    print(f"{len(rows):,} flows, {len(classified):,} with samples, {len(found):,} of them labelled\n")
    print(f"of all {len(classified):,}: {_unknown(classified)}\n")
    by_type([(row, labelled[key_of(row)]) for row in rows if key_of(row) in labelled])
    by_category(found)
    by_family(found)
    by_application(found)
    by_vpn(found)


def labels(data: Path) -> dict[Key, dict[str, str]]:
    """What is known of flows; the first label of a five-tuple counts."""
    known: dict[Key, dict[str, str]] = {}
    for name in ("ndpi-flows.csv", "other-flows.csv"):
        with (data / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                protocol = row["l4"].lower() if "l4" in row else PROTOCOLS.get(row["proto"], "")
                ends = frozenset({(row["src"], row["sport"]), (row["dst"], row["dport"])})
                known.setdefault((row["file"], protocol, ends), row)
    return known


def key_of(row: dict[str, Any]) -> Key:
    ends = frozenset({(row[end], str(row[f"{end}_port"])) for end in ("src", "dst")})
    return Path(row["capture"]).name, row["protocol"], ends


def verdicts(model: str, captures: Path) -> list[dict[str, Any]]:
    classifier = Classifier.load(model)
    found = classifier.classify_sources(expand_inputs([captures]), [])
    return [row for capture in found for row in capture]


def by_type(found: list[tuple[dict[str, Any], dict[str, str]]]) -> None:
    """The verdict's type beside the evidence, of flows with and without samples."""
    typed = [(row["verdict"], known["type6"].lower()) for row, known in found if known["type6"]]
    print("| type by evidence | flows | answered | right of the answered | said instead |")
    print("|---|---:|---:|---:|---|")
    for kind in (*FAMILIES, "all"):
        said = [pair for pair in typed if kind == "all" or pair[1] == kind.lower()]
        answered = [(verdict["type"], truth) for verdict, truth in said if verdict["type"] is not None]
        wrong = Counter(answer for answer, truth in answered if answer.lower() != truth)
        right = len(answered) - wrong.total()
        instead = ", ".join(f"{answer} {n}" for answer, n in wrong.most_common(SHOWN)) or "–"
        shares = f"{len(answered) / len(said):.1%} | {right / max(len(answered), 1):.1%}"
        print(f"| {kind} | {len(said)} | {shares} | {instead} |")
    sources = Counter(verdict["by"] for verdict, _ in typed)
    print("\nby " + ", ".join(f"{by} {n}" for by, n in sources.most_common()) + "\n")


def by_category(found: list[tuple[dict[str, Any], dict[str, str]]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row, known in found:
        groups[known["category"] or "Unspecified"].append(row)
    print(
        "| nDPI's category | flows | application unknown | traffic unknown | what else is said of the type |"
    )
    print("|---|---:|---:|---:|---|")
    for category, rows in sorted(groups.items(), key=lambda item: -len(item[1])):
        if len(rows) >= 5:
            shares = " | ".join(f"{_share(rows, task):.0%}" for task in ("application", "traffic"))
            print(f"| {category} | {len(rows)} | {shares} | {_said(row['traffic'] for row in rows)} |")


def by_family(found: list[tuple[dict[str, Any], dict[str, str]]]) -> None:
    print(
        "\n| type by evidence | flows | family unknown | family right | of those not unknown | said instead |"
    )
    print("|---|---:|---:|---:|---:|---|")
    for family, label in FAMILIES.items():
        rows = [row["auxiliary"] for row, known in found if known["type6"] == family]
        _agreement(family, label, rows)


def by_application(found: list[tuple[dict[str, Any], dict[str, str]]]) -> None:
    print("\n| application by name | flows | unknown | right | of those not unknown | said instead |")
    print("|---|---:|---:|---:|---:|---|")
    named = [(row, known) for row, known in found if known["app17"] and known["app17_strength"] != "dns-only"]
    for name, _ in Counter(known["app17"] for _, known in named).most_common():
        rows = [row["application"] for row, known in named if known["app17"] == name]
        _agreement(name, NAMES.get(name, name), rows)


def by_vpn(found: list[tuple[dict[str, Any], dict[str, str]]]) -> None:
    """The flows of tunnels themselves; traffic inside tunnels that are peeled is none."""
    tunnels = [row["vpn"]["label"] for row, known in found if known["vpn"]]
    others = [row["vpn"]["label"] for row, known in found if not known["vpn"]]
    print()
    for what, said in (("labelled as a VPN's", tunnels), ("others", others)):
        counts = ", ".join(f"{label} {n}" for label, n in Counter(said).most_common())
        print(f"vpn, flows {what}: {counts}")


def _agreement(name: str, label: str, verdicts: list[dict[str, Any]]) -> None:
    if not verdicts:
        return
    said = Counter(verdict["label"] for verdict in verdicts)
    unknown, right, total = said["unknown"], said[label], len(verdicts)
    share = f"{right / (total - unknown):.0%}" if total > unknown else "–"
    wrong = _said(verdict for verdict in verdicts if verdict["label"] != label)
    print(f"| {name} | {total} | {unknown / total:.0%} | {right / total:.0%} | {share} | {wrong} |")


def _said(verdicts: Iterable[dict[str, Any]]) -> str:
    counts = Counter(verdict["label"] for verdict in verdicts)
    del counts["unknown"]
    return ", ".join(f"{label} {n}" for label, n in counts.most_common(SHOWN)) or "–"


def _share(rows: list[dict[str, Any]], task: str) -> float:
    return sum(row[task]["label"] == "unknown" for row in rows) / len(rows)


def _unknown(rows: list[dict[str, Any]]) -> str:
    tasks = ("application", "traffic", "auxiliary")
    return ", ".join(f"{task} unknown {_share(rows, task):.1%}" for task in tasks)


if __name__ == "__main__":
    main()
