"""Tables and figures of finished runs: from metrics.json, sweep.json, audit.json and dataset.json only."""

from mtc.report.compare import comparison, comparison_csv, comparison_tables, comparison_verdicts
from mtc.report.figures.audit import audit_figures
from mtc.report.page import TITLE, Report, build_report
from mtc.report.paper import PublishedRow, PublishedTable, published_tables
from mtc.report.sources import Run, Sources, load_sources

__all__ = [
    "TITLE",
    "PublishedRow",
    "PublishedTable",
    "Report",
    "Run",
    "Sources",
    "audit_figures",
    "build_report",
    "comparison",
    "comparison_csv",
    "comparison_tables",
    "comparison_verdicts",
    "load_sources",
    "published_tables",
]
