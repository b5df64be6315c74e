"""What a packet says: headers, and which packets become samples."""

from mtc.packets.fields import SAMPLE_LENGTH, Mask, field_names
from mtc.packets.headers import Headers, decode
from mtc.packets.reasons import REASON_TEXTS, REASONS
from mtc.packets.samples import build_samples, mask_samples
from mtc.packets.selection import Selection, Selector, time_ns

__all__ = [
    "REASONS",
    "REASON_TEXTS",
    "SAMPLE_LENGTH",
    "Headers",
    "Mask",
    "Selection",
    "Selector",
    "build_samples",
    "decode",
    "field_names",
    "mask_samples",
    "time_ns",
]
