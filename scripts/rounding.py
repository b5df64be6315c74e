"""Numbers of kept results, short enough for a repository."""

from typing import Any


def rounded(value: Any, digits: int) -> Any:
    """The same nested value with its floats rounded."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return round(value, digits) if isinstance(value, float) else value
