"""Charts, drawn by a library that the server brings along; distinguished by colour and by pattern."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mtc import palette
from mtc.columns import UNKNOWN

MOST_SERIES = 7
OTHERS = "others"


def shown_labels(totals: Mapping[str, float]) -> list[str]:
    """The labels that get a series of their own: those with most, ``unknown`` always."""
    most = sorted(totals, key=lambda label: -totals[label])[:MOST_SERIES]
    if UNKNOWN in totals and UNKNOWN not in most:
        most[-1] = UNKNOWN
    return most


def colours_of(labels: Iterable[str]) -> dict[str, palette.Colour]:
    """The colours of series in their order; ``unknown`` and the rest are grey."""
    others = iter(palette.SERIES)
    return {label: palette.GREY if label in (UNKNOWN, OTHERS) else next(others) for label in labels}


def over_time(start: float, step: float, rows: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Stacked bars of bytes by class over time.

    Args:
        start: Unix seconds of the first stretch.
        step: Seconds of each.
        rows: Class -> bytes in each stretch.
    """
    series = merged(rows)
    count = max((len(values) for values in series.values()), default=0)
    colours = colours_of(series)
    places = [_time(start + i * step, step) for i in range(count)]
    return {
        "aria": {"enabled": True, "decal": {"show": True}},
        "animation": False,
        "grid": {"left": 8, "right": 8, "top": 24, "bottom": 56, "containLabel": True},
        "legend": {"bottom": 0, "type": "scroll", "textStyle": {"color": palette.GREY.light}},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, "confine": True},
        "xAxis": {"type": "category", "data": places, "axisLabel": {"hideOverlap": True, **_ink()}},
        "yAxis": {"type": "value", "name": "bytes", "nameTextStyle": _ink(), **_axis(), "axisLabel": _ink()},
        "series": [
            {
                "name": label,
                "type": "bar",
                "stack": "all",
                "barCategoryGap": "0%",
                "itemStyle": {"color": colours[label].light},
                "data": list(values),
            }
            for label, values in series.items()
        ],
    }


def histogram(counts: Sequence[int]) -> dict[str, Any]:
    """Flows by confidence, in equal steps from 0 to 1."""
    steps = len(counts)
    names = [f"{i / steps:.1f}-{(i + 1) / steps:.1f}" for i in range(steps)]
    return {
        "aria": {"enabled": True},
        "animation": False,
        "grid": {"left": 8, "right": 8, "top": 24, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {"type": "category", "data": names, "axisLabel": {"hideOverlap": True, **_ink()}},
        "yAxis": {"type": "value", "name": "flows", "minInterval": 1, "nameTextStyle": _ink(), **_axis()}
        | {"axisLabel": _ink()},
        "series": [{"type": "bar", "data": list(counts), "itemStyle": {"color": palette.BLUE.light}}],
    }


def merged(rows: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """The series that are shown: the largest classes, and all others as one."""
    labels = shown_labels({label: sum(values) for label, values in rows.items()})
    series = {label: list(rows[label]) for label in labels}
    rest = [rows[label] for label in rows if label not in series]
    if rest:
        series[OTHERS] = [sum(values) for values in zip(*rest, strict=True)]
    return series


def _time(seconds: float, step: float) -> str:
    at = datetime.fromtimestamp(seconds, UTC)
    return at.strftime("%H:%M:%S" if step >= 1 else "%H:%M:%S.%f")[: 8 if step >= 1 else 10]


def _ink() -> dict[str, Any]:
    return {"color": palette.GREY.light}  # one that is read on light and on dark


def _axis() -> dict[str, Any]:
    return {"splitLine": {"lineStyle": {"color": palette.GREY.light, "opacity": 0.25}}}
