"""The web page of ``mtc serve``."""

from typing import Any


def add_page(app: Any, parts: Any) -> None:
    """Nothing yet."""
