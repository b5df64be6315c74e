"""What a watch goes by, and what it counts."""

from collections import Counter
from dataclasses import dataclass, field

from mtc.errors import UsageError


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How flows are distinguished and when they get verdicts."""

    first_packets: int | None = None
    """Samples of a flow that make its early verdict; None: as many as the model says."""
    early_confidence: float | None = None
    """Confidence in all tasks that makes a flow's early verdict with fewer samples."""
    verdict_timeout_s: float = 5.0
    """Seconds after its first sample when a flow gets its early verdict anyway."""
    idle_timeout_s: float = 60.0
    """Seconds without a packet that end a flow."""
    active_timeout_s: float = 1800.0
    """Seconds that a flow lasts at most; what follows is another flow."""
    max_flows: int = 1 << 18
    """Flows that are held at a time; beyond, those idle the longest are pushed out."""
    decapsulate: bool = True
    """Whether tunnels are peeled down to the innermost IP packet."""
    snaplen: int = 0
    """Packets captured with this many bytes may have been longer on the wire; 0: wire lengths are known."""
    probabilities: bool = False
    """Whether events hold the probabilities of all classes."""
    names: bool = True
    """Whether server names are read and reported."""

    def __post_init__(self) -> None:
        limits = ("first_packets", "verdict_timeout_s", "idle_timeout_s", "active_timeout_s", "max_flows")
        for name in limits:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be positive, not {value}")
        if self.early_confidence is not None and not 0 < self.early_confidence <= 1:
            raise UsageError(f"early_confidence must be between 0 and 1, not {self.early_confidence}")


@dataclass
class WatchCounts:
    """What has gone through an engine so far; names as in the events of kind ``stats``."""

    packets: int = 0
    wire_bytes: int = 0
    samples: int = 0
    cut_samples: int = 0
    judged: int = 0
    sampling: int = 0
    flows_ended: int = 0
    flows_judged: int = 0
    flows_sampled_out: int = 0
    flows_evicted: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
