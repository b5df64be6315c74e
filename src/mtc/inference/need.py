"""Libraries that only a part of this package needs."""

from importlib import import_module
from typing import Any

from mtc.errors import UsageError


def need(name: str, *, extra: str) -> Any:
    """Import an optional library.

    Args:
        name: The module.
        extra: What this package calls the set of dependencies that it belongs to.

    Raises:
        UsageError: It is not installed; the message tells how to get it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(f"this needs {name}: pip install 'mtc-traffic[{extra}]'") from error
