"""What a packet says: headers, flows, and which packets become samples."""

from mtc.packets.fields import SAMPLE_LENGTH, Mask, field_names
from mtc.packets.flow_records import FlowRecords, format_address
from mtc.packets.flows import FlowSettings, FlowTable
from mtc.packets.headers import Headers, decode
from mtc.packets.reasons import REASON_TEXTS, REASONS
from mtc.packets.samples import build_samples, mask_samples
from mtc.packets.selection import Selection, Selector, time_ns
from mtc.packets.stream import Samples, SampleStream, iter_samples, read_samples
from mtc.packets.summary import CaptureSummary, summarize

__all__ = [
    "REASONS",
    "REASON_TEXTS",
    "SAMPLE_LENGTH",
    "CaptureSummary",
    "FlowRecords",
    "FlowSettings",
    "FlowTable",
    "Headers",
    "Mask",
    "SampleStream",
    "Samples",
    "Selection",
    "Selector",
    "build_samples",
    "decode",
    "field_names",
    "format_address",
    "iter_samples",
    "mask_samples",
    "read_samples",
    "summarize",
    "time_ns",
]
