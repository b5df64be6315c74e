"""The table of detectors: one entry per application protocol and way to recognize it, in order.

The first that fits decides, so what proves more stands before what proves less.
"""

from mtc.flows.detectors.data import DATA
from mtc.flows.detectors.detector import Detector, Side
from mtc.flows.detectors.encrypted import ENCRYPTED
from mtc.flows.detectors.media import MEDIA
from mtc.flows.detectors.network import NETWORK
from mtc.flows.detectors.peers import PEERS
from mtc.flows.detectors.text import TEXT

DETECTORS: tuple[Detector, ...] = (*TEXT, *NETWORK, *ENCRYPTED, *DATA, *PEERS, *MEDIA)

__all__ = ["DETECTORS", "Detector", "Side"]
