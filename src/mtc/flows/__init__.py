"""Flows: the table of biflows, timeouts, records, community id, and samples with their flow numbers."""

from mtc.flows.evidence import EVIDENCE, EvidenceCollector, FlowEvidence
from mtc.flows.records import FlowRecords
from mtc.flows.stream import Samples, SampleStream, iter_samples, read_samples
from mtc.flows.summary import CaptureSummary, summarize
from mtc.flows.table import FlowSettings, FlowTable
from mtc.flows.texts import format_address

__all__ = [
    "EVIDENCE",
    "CaptureSummary",
    "EvidenceCollector",
    "FlowEvidence",
    "FlowRecords",
    "FlowSettings",
    "FlowTable",
    "SampleStream",
    "Samples",
    "format_address",
    "iter_samples",
    "read_samples",
    "summarize",
]
