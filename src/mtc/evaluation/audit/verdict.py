"""Verdict of an audit, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from mtc.evaluation.audit.scores import FLATTERING, HONEST
from mtc.evaluation.audit.sharing import LEAK_SHARE

GAP = 0.05
"""Macro F1 that a split or mask may add before it is reported."""

NEAR_SHARE = 0.2
"""Share of a test part that may be near duplicates of trained rows."""

DROP = 0.1
"""Macro F1 that a model may lose with an identifying group before it is reported."""

IDENTIFYING_GROUPS = frozenset({"ports", "sequence numbers", "checksums", "TTL", "IP id", "window"})

Finding = dict[str, Any]


def findings(audit: Mapping[str, Any]) -> list[Finding]:
    """What is wrong, or flatters; empty for a dataset that is clean. See ``findings`` in docs/audit.md.

    The split that flatters by construction (by packet; balanced before it is split) is only reported by the
    gap to the honest one.
    """
    flattering = FLATTERING[audit["dataset"]["kind"]]
    found = [*_sharing(audit["splits"], flattering), *_fields(audit["fields"])]
    found += [*_gaps(audit), *_occlusion(audit["occlusion"])]
    return found


def honest_scores(audit: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Task -> the best score that no leak and no shortcut flatters: honest split, strict mask."""
    honest = HONEST[audit["dataset"]["kind"]]
    found: dict[str, dict[str, Any]] = {}
    for row in audit["scores"]:
        if row["split"] == honest and row["mask"] == "strict":
            where = {name: row[name] for name in ("model", "inputs", "split", "mask")}
            found |= {task: {"macro_f1": s["macro_f1"], **where} for task, s in row["tasks"].items()}
    return found


def verdict(audit: Mapping[str, Any]) -> list[str]:
    """The audit in sentences: leaks, shortcuts, what names flows, and the honest score of each task."""
    return [
        *_leak_sentences(audit),
        *_field_sentences(audit),
        *(finding["text"] for finding in audit["findings"] if finding["kind"] in ("gap", "mask")),
        *(finding["text"] for finding in audit["findings"] if finding["kind"] == "occlusion"),
        *_honest_sentences(audit),
    ]


def _finding(kind: str, value: float, text: str, **where: str | None) -> Finding:
    place: dict[str, str | None] = {"task": None, "split": None, "field": None}
    return {"kind": kind, **place, **where, "value": value, "text": text}


def _sharing(splits: Mapping[str, Any], flattering: str) -> Iterator[Finding]:
    for split, row in splits.items():
        if split == flattering:
            continue
        flows = row["flows"]
        if flows and flows["shared"]:
            text = (
                f"Split {split}: {flows['shared']:,} flows have rows in several parts; "
                f"{_percent(flows['share'])} of the test rows are of flows that were trained on."
            )
            yield _finding("flows", flows["share"], text, split=split)
        for kind, count in row["duplicates"].items():
            if count["share"] >= (LEAK_SHARE if kind == "exact" else NEAR_SHARE):
                text = (
                    f"Split {split}: {_percent(count['share'])} of the test rows "
                    f"{_EQUAL[kind]} a row that was trained on."
                )
                yield _finding("duplicates", count["share"], text, split=split)


_EQUAL = {
    "exact": "equal",
    "masked": "equal, under the strict mask,",
    "payload": "equal in their payload",
    "near": "nearly equal",
}


def _fields(fields: list[dict[str, Any]]) -> Iterator[Finding]:
    for entry in fields:
        for task, row in entry["tasks"].items():
            if row["verdict"] not in ("label", "shortcut"):
                continue
            name = entry["field"]
            what = "gives the label away" if row["verdict"] == "label" else "is a shortcut"
            text = (
                f"{name} alone {what} of {task}: macro F1 {row['by_flow']:.2f} on unseen flows, "
                f"{row['chance']:.2f} by chance."
            )
            if row["verdict"] == "shortcut":
                text = text.replace(f" of {task}", f" to {task}")
            yield _finding(row["verdict"], row["by_flow"], text, task=task, field=name)


def _gaps(audit: Mapping[str, Any]) -> Iterator[Finding]:
    honest, flattering = (which[audit["dataset"]["kind"]] for which in (HONEST, FLATTERING))
    for task, row in audit["gap"].items():
        if (row["difference"] or 0.0) >= GAP:
            text = (
                f"{task}: the split {flattering} adds {100 * row['difference']:.0f} points of macro F1 "
                f"({row['packet']:.2f} against {row['flow']:.2f} in the split {honest})."
            )
            yield _finding("gap", row["difference"], text, task=task, split=flattering)
        if (row["mask_difference"] or 0.0) >= GAP:
            text = (
                f"{task}: identifying fields are worth {100 * row['mask_difference']:.0f} points of macro F1 "
                f"on unseen flows ({row['paper']:.2f} with them, {row['strict']:.2f} without)."
            )
            yield _finding("mask", row["mask_difference"], text, task=task, split=honest)


def _occlusion(occlusion: Mapping[str, Any] | None) -> Iterator[Finding]:
    for entry in occlusion["hidden"] if occlusion else ():
        if entry["group"] in IDENTIFYING_GROUPS:
            for task, row in entry["tasks"].items():
                if (row["drop"] or 0.0) >= DROP:
                    text = (
                        f"The model's {task} rests on {entry['group']}: without them it loses "
                        f"{100 * row['drop']:.0f} points of macro F1."
                    )
                    yield _finding("occlusion", row["drop"], text, task=task, field=entry["group"])


def _leak_sentences(audit: Mapping[str, Any]) -> list[str]:
    found = [f["text"] for f in audit["findings"] if f["kind"] in ("flows", "duplicates")]
    honest = HONEST[audit["dataset"]["kind"]]
    if not found:
        text = f"No leak between the parts of the split {honest}"
        near = audit["splits"].get(honest, {}).get("duplicates", {})
        kind = max(near, key=lambda kind: near[kind]["share"], default=None)
        if kind is not None and near[kind]["test_rows"]:
            text += f"; {_percent(near[kind]['share'])} of its test rows {_EQUAL[kind]} a trained row"
        found.append(f"{text}.")
    return found


def _field_sentences(audit: Mapping[str, Any]) -> list[str]:
    sentences = []
    for task in audit["dataset"]["tasks"]:
        by_verdict: dict[str, list[str]] = {}
        for entry in audit["fields"]:
            if task in entry["tasks"]:
                by_verdict.setdefault(entry["tasks"][task]["verdict"], []).append(entry["field"])
        for word, text in _FIELD_TEXTS.items():
            if word in by_verdict:
                sentences.append(f"{task}: {text} {_join(by_verdict[word])}.")
        if not by_verdict.keys() & {"label", "shortcut"}:
            sentences.append(f"{task}: no field alone is a shortcut.")
    return sentences


_FIELD_TEXTS = {
    "label": "the label is given away by",
    "shortcut": "shortcuts are",
    "flow": "worth something only where packets of a flow are on both sides:",
}


def _honest_sentences(audit: Mapping[str, Any]) -> list[str]:
    sentences = []
    captures = {
        task: scores["macro_f1"]
        for row in audit["scores"]
        if row["split"] == "capture"
        for task, scores in row["tasks"].items()
    }
    for task, row in audit["honest"].items():
        if row["macro_f1"] is not None:
            text = (
                f"{task}: the honest score is a macro F1 of {row['macro_f1']:.2f} ({row['model']} on "
                f"{row['inputs']}, split {row['split']}, without identifying fields)"
            )
            unseen = captures.get(task)
            text += f"; {unseen:.2f} on unseen captures" if unseen is not None else ""
            sentences.append(text + ".")
    return sentences


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
