"""Verdicts where operators need them: live, as events, in sinks, over HTTP.

Public names are imported when they are first asked for, so that a part can be used without the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtc.serving.events import event_schema
    from mtc.serving.pseudonyms import Pseudonyms

__all__ = ["Pseudonyms", "event_schema"]

_HOMES = {"Pseudonyms": "pseudonyms", "event_schema": "events"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mtc.serving' has no attribute {name!r}")
    return getattr(import_module(f"mtc.serving.{_HOMES[name]}"), name)
