"""Numbers and verdicts as people read them."""

from datetime import UTC, datetime
from html import escape
from typing import Any


def size(count: float) -> str:
    """Bytes, in a unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError


def share(part: float, whole: float) -> str:
    """A share in per cent."""
    return "-" if not whole else f"{100 * part / whole:.1f} %"


def clock(seconds: float) -> str:
    """A time of day, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def endpoint(address: str, port: int) -> str:
    """Address and port."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def verdict(found: dict[str, Any] | None) -> dict[str, Any]:
    """A verdict in the words of a table."""
    if found is None:
        return {"label": "no sample", "share": 0, "sure": ""}
    return {
        "label": found["label"],
        "share": round(100 * found["confidence"]),
        "sure": f"{found['confidence']:.2f}",
    }


def html(text: object) -> str:
    """A text, fit to stand in HTML."""
    return escape(str(text), quote=True)
