"""Bytes in: captures of any format, compressed or not, as bounded batches of packets."""

from mtc.capture.batch import PacketBatch
from mtc.capture.opening import open_capture
from mtc.capture.reader import CaptureReader, Damage
from mtc.capture.sources import ByteBudget, Source, expand_inputs

__all__ = ["ByteBudget", "CaptureReader", "Damage", "PacketBatch", "Source", "expand_inputs", "open_capture"]
