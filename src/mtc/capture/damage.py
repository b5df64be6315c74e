"""Where and why the reading of a capture ended early."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Damage:
    """The place after which nothing of a capture could be read.

    Attributes:
        offset: Byte in the decompressed stream at which the first unreadable record begins.
        reason: What is wrong there, as a phrase without a full stop.
    """

    offset: int
    reason: str

    def __str__(self) -> str:
        """One sentence, as `mtc inspect` shows it."""
        return f"damaged at byte {self.offset}: {self.reason}"
