"""Occlusion: scores of a trained model with bytes, or features, hidden."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import LabelledSamples
from mtc.datasets.flow_features.samples import are_features
from mtc.metrics import score
from mtc.models import LoadedModel
from mtc.models.shallow.inputs import headers_of
from mtc.packets import field_names
from mtc.packets.fields import PAYLOAD, SAMPLE_LENGTH
from mtc.packets.transport import TCP, UDP
from mtc.training.scoring.calibration import log_probabilities

OCCLUSION_ROWS = 1_000
"""Most rows of the test part that are looked at, drawn at random."""

FIRST_BYTES = 16
"""Bytes at the beginning of the payload that are hidden together."""

MIDDLE = np.float32(0.5)
"""Value of a hidden feature: the middle of its ranks among the training rows."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "addresses": ("ip_src", "ip_dst"),
    "ports": ("tcp_src_port", "tcp_dst_port", "udp_src_port", "udp_dst_port"),
    "sequence numbers": ("tcp_seq", "tcp_ack"),
    "checksums": ("ip_checksum", "tcp_checksum", "udp_checksum"),
    "lengths": ("ip_total_length", "ip_payload_length", "udp_length"),
    "TTL": ("ip_ttl", "ip_hop_limit"),
    "IP id": ("ip_id",),
    "window": ("tcp_window",),
    "flags": ("tcp_flags", "ip_flags_fragment", "ip_dscp_ecn"),
    "first payload bytes": (PAYLOAD,),
    "header only": (PAYLOAD,),
    "payload only": (),
}
"""Group -> fields that are hidden; of ``header only`` all payload, of ``payload only`` all headers."""

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Hidden:
    """Something that is hidden, and how."""

    group: str
    fields: tuple[str, ...]
    samples: LabelledSamples | None
    """None where nothing was there that could be hidden."""


def occlude(
    model: LoadedModel,
    samples: LabelledSamples,
    labels: Mapping[str, NDArray[np.int64]],
    classes: Mapping[str, tuple[str, ...]],
    *,
    advance: Advance = lambda done: None,
) -> dict[str, Any]:
    """Score a model on samples of which something is hidden.

    Args:
        model: What is asked.
        samples: As the model is to see them: under its mask, features scaled.
        labels: Task -> int64 (N,), numbered as the model does.
        classes: Task -> the model's classes, and then those that it does not know.
        advance: Called with the number of samples done.

    Returns:
        ``rows``, ``whole`` and ``hidden``, see ``occlusion`` in docs/audit.md.
    """
    whole = _macro_f1(model, samples, labels, classes, advance)
    hidden = []
    for found in _hidden(samples, tuple(model.card.features)):
        if found.samples is None:
            advance(len(samples))
            scores = whole
        else:
            scores = _macro_f1(model, found.samples, labels, classes, advance)
        tasks = {}
        for task, value in scores.items():
            before = whole[task]
            drop = None if value is None or before is None else before - value
            tasks[task] = {"macro_f1": value, "drop": drop}
        hidden.append({"group": found.group, "fields": list(found.fields), "tasks": tasks})
    return {"rows": len(samples), "whole": whole, "hidden": hidden}


def occlusions(samples: LabelledSamples) -> int:
    """Number of predictions of the samples."""
    return 1 + (len(GROUPS) if not are_features(samples) else int(np.diff(samples.offsets[:2])[0]))


def _hidden(samples: LabelledSamples, features: tuple[str, ...]) -> Any:
    """Yield the samples with one thing after the other hidden."""
    if are_features(samples):
        for i, name in enumerate(features):
            values = samples.dense()
            values[:, i] = MIDDLE
            yield _Hidden(name, (name,), replace(samples, data=values.reshape(-1)))
        return
    for group, fields in GROUPS.items():
        dense = samples.dense()
        names, changed = _hide(dense, group, fields)
        offsets = np.arange(len(dense) + 1) * dense.shape[1]
        left = replace(samples, data=dense.reshape(-1), offsets=offsets)
        yield _Hidden(group, names, left if changed else None)


def _hide(samples: NDArray[np.uint8], group: str, fields: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Zero a group in samples, in place; the fields that it is of, and whether any was not zero."""
    changed = False
    version, protocol = headers_of(samples)
    hidden: dict[str, None] = {}
    for ip_version in (4, 6):
        for transport in (TCP, UDP):
            rows = np.flatnonzero((version == ip_version) & (protocol == transport))
            if len(rows):
                names = np.array(field_names(ip_version, transport))
                chosen = names != PAYLOAD if group == "payload only" else np.isin(names, fields)
                if group == "first payload bytes":
                    begin = int(np.argmax(chosen))
                    chosen = (np.arange(SAMPLE_LENGTH) >= begin) & (
                        np.arange(SAMPLE_LENGTH) < begin + FIRST_BYTES
                    )
                cells = rows[:, None], np.flatnonzero(chosen)
                changed |= bool(samples[cells].any())
                samples[cells] = 0
                hidden |= dict.fromkeys(names[chosen].tolist())
    return tuple(hidden), changed


def _macro_f1(
    model: LoadedModel,
    samples: LabelledSamples,
    labels: Mapping[str, NDArray[np.int64]],
    classes: Mapping[str, tuple[str, ...]],
    advance: Advance,
) -> dict[str, float | None]:
    logits = model.logits(samples.data, samples.offsets, precision="auto", advance=advance)
    return {
        task: score(
            labels[task],
            log_probabilities(logits[task], model.absent[task]).argmax(axis=1),
            names,
        )["macro_f1"]
        for task, names in classes.items()
    }
