"""The card of a model, ``model.json``: all that it is but for its weights.

Together with the weights it is all that is needed to use the model on a raw packet: settings, mask,
tasks and classes, calibration.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from mtc import __version__
from mtc.config import RunConfig
from mtc.errors import ConfigError, ModelError
from mtc.models.temperature import Temperature

WEIGHTS, CARD = "model.safetensors", "model.json"
"""The files of a model's folder. Nothing in them is executed on loading."""

FORMAT_VERSION = 3
"""Version of the model file that this package writes."""

OLDEST = 1
"""Oldest version that can still be read."""

PREPROCESSING = "preprocessing."
"""Begin of the names of arrays beside the weights: those of what brings flow features into [0, 1]."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that a model is, but for its weights.

    Attributes:
        tasks: Task -> classes, in the order of the outputs.
        config: Settings of the run that made it; ``config.data.mask`` is applied to every sample.
        calibration: Task -> ``packet`` and ``flow`` -> ``{"base", "rise"}``, the temperature of verdicts,
            see ``mtc.models.Temperature``.
        absent: Task -> classes that had no training sample: probability 0, never predicted.
        reject: Task -> ``packet`` and ``flow`` -> ``score`` (``probability`` or ``energy``) and
            ``threshold``: a verdict with a lower score is unknown, where that is asked for.
        pairs: Task -> a later task -> label -> labels of the other task that occurred with it in training;
            empty where that is not known.
        flow_packets: Packets of a flow that its verdict is made of, where nothing else is asked for.
        dataset: What it was trained on: ``name``, ``hash``, ``split``, counts.
        training: How: epochs, minutes, samples/s, machine.
        metrics: Scores, as in ``metrics.json``.
        notes: Limits and other remarks, one sentence each.
        features: Names of the flow features that it reads, in their order; none where it reads packets.
        fingerprint: ``sha256``: file -> SHA-256 of its content; ``logits``: task -> logits of the samples of
            ``mtc.models.probes``, (3, classes), by the network that was saved; ``code``: SHA-256 of its
            source. Empty in files of before version 3.
        convention: How those features were computed, see ``mtc.flows.features``.
        unseen: Share of the values of the validation rows that differ from all training quantiles; 0 where
            that is not known.
        mtc_version: Version of the package that wrote the file.
        format_version: Version of the file's layout.
    """

    tasks: Mapping[str, Sequence[str]]
    config: RunConfig = field(default_factory=RunConfig)
    calibration: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reject: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    pairs: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]] = field(default_factory=dict)
    flow_packets: int = 10
    dataset: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    features: Sequence[str] = ()
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    convention: str = "cicids2017"
    unseen: float = 0.0
    mtc_version: str = __version__
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The text of ``model.json``."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return json.dumps(values | {"config": self.config.to_dict()}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of ``model.json``.

        Raises:
            ModelError: It is no JSON of that kind, or of a version that cannot be read.
        """
        try:
            values = json.loads(text)
            values = _migrate(values)
            _check_verdict_settings(values)
            values["config"] = RunConfig.from_dict(values["config"])
            values["tasks"] = {task: tuple(classes) for task, classes in values["tasks"].items()}
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
            raise ModelError(f"{CARD} is damaged ({error})") from error


def _check_verdict_settings(values: Mapping[str, Any]) -> None:
    """Refuse settings of verdicts and pairs of labels that could only fail later."""
    for name in ("tasks", "absent"):
        found = values.get(name, {})
        lists = isinstance(found, dict) and all(isinstance(classes, list) for classes in found.values())
        if not lists or not all(isinstance(c, str) for classes in found.values() for c in classes):
            raise ModelError(f"{CARD} is damaged ({name} is no object of lists of names)")
    for other in values["pairs"].values():
        for labels in other.values():
            if not all(isinstance(together, list) for together in labels.values()):
                raise ModelError(f"{CARD} is damaged (pairs are no lists of labels)")
    packets = values["flow_packets"]
    if type(packets) is not int or packets < 1:
        raise ModelError(f"{CARD} is damaged (flow_packets {packets!r})")
    for both in values["calibration"].values():
        for per in ("packet", "flow"):
            Temperature.from_json(both[per])
    known = values.get("fingerprint", {})
    if known and not all(isinstance(known[key], dict) for key in ("sha256", "logits")):
        raise ModelError(f"{CARD} is damaged (fingerprint)")


def _migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Bring the content of ``model.json`` to the present version.

    Args:
        values: As read, of version ``format_version``.

    Raises:
        ModelError: It is of a version that cannot be read; the message says why.
    """
    version = values["format_version"]
    if not isinstance(version, int) or isinstance(version, bool):
        raise ModelError(f"the format version is {version!r}, which is no number")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"model format {version} is newer than this version of mtc, which reads {OLDEST} to "
            f"{FORMAT_VERSION}; it was written by mtc {values.get('mtc_version', '?')}"
        )
    if version < OLDEST:
        raise ModelError(f"model format {version} is older than {OLDEST}, the oldest that is still read")
    if version == 1:
        values = _from_1(values)
    return {**values, "format_version": FORMAT_VERSION}  # version 2 had no fingerprint


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    # Version 1 had no pairs of labels (so nothing is known to conflict), plain temperatures, and flow
    # verdicts from the sum of ten packets' log-probabilities. Now it is their mean, whose temperature is
    # about that of a packet: it takes the place of the one for sums.
    temperatures = {
        task: {"base": both["packet"], "rise": 0.0} for task, both in values.get("calibration", {}).items()
    }
    return {
        "pairs": {},
        "flow_packets": 10,
        **values,
        "calibration": {task: {"packet": found, "flow": found} for task, found in temperatures.items()},
    }
