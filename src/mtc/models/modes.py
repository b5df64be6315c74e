"""The ways to compute verdicts: fp32, bfloat16, eight bits; which of them a model may use, by measurement.

A faster mode rounds more, so a packet on the border of two classes may fall to the other side. What
decides is the margin, by which the first class leads the second: verdicts whose margin is below a limit
are computed again in fp32. The limits are measured once, on packets of the training dataset, and stored
beside the weights; a mode whose verdicts agree too rarely even then is not used.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mtc.errors import ModelError

if TYPE_CHECKING:
    import torch

    from mtc.models.networks.mtc import MTC

Precision = Literal["exact", "auto", "bf16", "int8"]
"""How verdicts are computed: see ``mtc.models.predict_logits``."""

Reduced = Literal["bf16", "int8"]

AGREEMENT = 0.999
"""Share of verdicts that must have the same first class as in fp32, for each task."""

RESERVE = 1.5
"""Limits are so many times the largest lead of a verdict that differed: other packets differ by more."""

MODES_FILE = "modes.json"

Logits = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Mode:
    """What was measured of a faster mode.

    Attributes:
        margins: Task -> lead of the first class, in logits, below which a verdict is computed again.
        plain: Task -> share of verdicts with the first class of fp32, without computing any again.
        agreement: Task -> the same with it.
        again: Share of packets that are computed again.
        samples: Packets that it was measured on.
    """

    margins: Mapping[str, float]
    plain: Mapping[str, float]
    agreement: Mapping[str, float]
    again: float
    samples: int

    @property
    def agrees(self) -> bool:
        """Whether verdicts agree often enough in every task."""
        return min(self.agreement.values()) >= AGREEMENT


@dataclass(frozen=True, slots=True)
class Modes:
    """The faster modes of a model.

    Attributes:
        ranges: Layer -> smallest and largest value that it reads, for eight bits.
        measured: Mode -> what was measured of it.
    """

    ranges: Mapping[str, tuple[float, float]]
    measured: Mapping[str, Mode]

    def to_json(self) -> str:
        """The text of ``modes.json``."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of ``modes.json``.

        Raises:
            ModelError: It is damaged.
        """
        try:
            values = json.loads(text)
            ranges = {name: (float(low), float(high)) for name, (low, high) in values["ranges"].items()}
            return cls(ranges, {name: Mode(**mode) for name, mode in values["measured"].items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{MODES_FILE} is damaged ({error})") from error


def close_calls(logits: Logits, margins: Mapping[str, float]) -> NDArray[np.bool_]:
    """Samples that have a margin below the limit in a task, (N,)."""
    close = [margin(values) < margins[task] for task, values in logits.items()]
    found: NDArray[np.bool_] = np.logical_or.reduce(close)
    return found


def margin(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lead of the first class over the second, (N, classes) -> (N,)."""
    if logits.shape[1] < 2:
        return np.full(len(logits), np.inf, np.float32)
    best = np.partition(logits, logits.shape[1] - 2, axis=1)
    lead: NDArray[np.float32] = best[:, -1] - best[:, -2]
    return lead


def judge(exact: Logits, found: Logits) -> Mode:
    """Choose the limits of a mode, from its logits and those of fp32 of the same samples."""
    count = len(next(iter(exact.values())))
    differs = {task: found[task].argmax(1) != values.argmax(1) for task, values in exact.items()}
    margins = {}
    for task, wrong in differs.items():
        # None of those that were measured is left to differ, nor any that leads by a little more.
        leads = margin(found[task])[wrong]
        margins[task] = float(np.nextafter(RESERVE * leads.max(), np.inf)) if len(leads) else 0.0
    again = close_calls(found, margins)
    return Mode(
        margins=margins,
        plain={task: 1.0 - float(wrong.mean()) for task, wrong in differs.items()},
        agreement={task: 1.0 - float((wrong & ~again).mean()) for task, wrong in differs.items()},
        again=float(again.mean()),
        samples=count,
    )


def native_bf16(device: "torch.device | str" = "cpu") -> bool:
    """Whether the device multiplies bfloat16 matrices natively (AMX on a CPU)."""
    import torch  # slow to import

    if torch.device(device).type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())  # no public name in PyTorch yet
    return torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def fastest(network: "MTC", device: "torch.device") -> Reduced | None:
    """The fastest mode that the device has and whose verdicts agree; None for fp32."""
    from mtc.models.engine.tiles_int8 import NATIVE

    measured = {} if network.modes is None else network.modes.measured
    on_device: dict[Reduced, bool] = {
        "int8": device.type == "cpu" and NATIVE,
        "bf16": native_bf16(device),
    }
    usable = (name for name, there in on_device.items() if there and name in measured)
    return next((name for name in usable if measured[name].agrees), None)
