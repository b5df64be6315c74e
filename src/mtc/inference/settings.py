"""Settings of verdicts on captures, beside the model."""

from dataclasses import dataclass, field
from pathlib import Path

from mtc.errors import UsageError
from mtc.extras import need
from mtc.packets import Selection


@dataclass(frozen=True, slots=True)
class VerdictSettings:
    """What decides the verdicts on captures, beside the model."""

    packets: int | None = None
    """First packets of a flow, of those that carry information, that its verdict is made of; None: as many
    as the model is calibrated for."""
    early: float | None = None
    """Confidence, above 0 and at most 1, at which a flow is decided: once every task is as sure as that,
    no more of its packets are computed. None: no flow is decided early."""
    reuse: bool = True
    """Whether samples that are the same, byte by byte, are computed once within a capture."""
    decapsulate: bool = True
    """Whether tunnels are peeled down to the innermost IP packet."""
    selection: Selection = field(default_factory=Selection)
    """Which packets count."""
    reject: bool = True
    """Whether a label below the model's threshold is ``unknown``."""
    names: bool = True
    """Whether names of servers are read."""
    services: Path | None = None
    """The user's table of services beside the package's own."""
    ndpi: bool = False
    """Whether nDPI gives its opinion on flows that say nothing of their service."""

    def __post_init__(self) -> None:
        if self.packets is not None and self.packets < 1:
            raise UsageError(f"a verdict needs at least 1 packet of a flow, not {self.packets}")
        if self.early is not None and not 0 < self.early <= 1:
            raise UsageError(f"a confidence lies above 0 and is at most 1, not {self.early:g}")
        if self.ndpi:
            need("nfstream")
