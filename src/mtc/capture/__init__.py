"""Bytes in: captures of any format, compressed or not, as bounded batches of packets."""

from mtc.capture.batch import PacketBatch
from mtc.capture.budget import ByteBudget
from mtc.capture.damage import Damage
from mtc.capture.opening import open_capture
from mtc.capture.reader import CaptureReader
from mtc.capture.sources import Source, expand_inputs

__all__ = ["ByteBudget", "CaptureReader", "Damage", "PacketBatch", "Source", "expand_inputs", "open_capture"]
