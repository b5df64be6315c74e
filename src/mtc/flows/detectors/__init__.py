"""The table of detectors: one entry per application protocol and way to recognize it, in order.

The first that fits decides, so what proves more stands before what proves less.
"""

from mtc.flows.detectors.detector import Detector, Side
from mtc.flows.detectors.encrypted import ENCRYPTED
from mtc.flows.detectors.text import TEXT

DETECTORS: tuple[Detector, ...] = (*ENCRYPTED, *TEXT)

__all__ = ["DETECTORS", "Detector", "Side"]
