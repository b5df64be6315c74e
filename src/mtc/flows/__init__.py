"""Flows: what a flow is and says; the package is called like a function for the flows of captures.

mtc.flows("capture.pcap")
"""

import sys
from types import ModuleType
from typing import Any

from mtc.flows.capture_flows import (
    FLOW_SCHEMA,
    CaptureFlows,
    FlowList,
    FlowReading,
    flow_table,
    number_flows,
    read_flows,
    server_side,
)
from mtc.flows.evidence import EVIDENCE, EvidenceCollector, FlowEvidence
from mtc.flows.records import FlowRecords
from mtc.flows.stream import Samples, SampleStream, iter_samples, read_samples
from mtc.flows.summary import CaptureSummary, summarize
from mtc.flows.table import FlowSettings, FlowTable
from mtc.flows.texts import format_address

__all__ = [
    "EVIDENCE",
    "FLOW_SCHEMA",
    "CaptureFlows",
    "CaptureSummary",
    "EvidenceCollector",
    "FlowEvidence",
    "FlowList",
    "FlowReading",
    "FlowRecords",
    "FlowSettings",
    "FlowTable",
    "SampleStream",
    "Samples",
    "flow_table",
    "format_address",
    "iter_samples",
    "number_flows",
    "read_flows",
    "read_samples",
    "server_side",
    "summarize",
]


class _CallableModule(ModuleType):
    """Lets ``mtc.flows`` be a package and the function that reads flow records."""

    def __call__(self, *captures: Any, **options: Any) -> FlowList:
        """See ``mtc.flows.read_flows``."""
        return read_flows(*captures, **options)


sys.modules[__name__].__class__ = _CallableModule
