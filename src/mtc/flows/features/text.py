"""Flow ID, addresses and timestamps, as the tools write them."""

from datetime import UTC, datetime, timedelta
from itertools import starmap

import numpy as np

from mtc.flows.features.conventions import CICFLOWMETER4, CICIDS2017, Convention
from mtc.flows.features.table import FeatureRows
from mtc.flows.records import format_address

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp_text(microseconds: int, convention: Convention) -> str:
    """The time of a flow's first packet in UTC: with a clock of twelve hours, or to the microsecond."""
    time = _EPOCH + timedelta(microseconds=microseconds)
    if convention.code == CICIDS2017:
        return time.strftime("%d/%m/%Y %I:%M:%S")
    if convention.code == CICFLOWMETER4:
        return time.strftime("%d/%m/%Y %I:%M:%S ") + ("AM" if time.hour < 12 else "PM")
    text = time.strftime("%Y-%m-%d %H:%M:%S")
    if time.microsecond % 1000:
        return f"{text}.{time.microsecond:06}"
    return f"{text}.{time.microsecond // 1000:03}" if time.microsecond else text
