"""Verdicts where operators need them: live, as events, in sinks, over HTTP.

Public names are imported when they are first asked for, so that a part can be used without the others.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.serving.events import event_schema as event_schema
    from mtc.serving.pseudonyms import Pseudonyms as Pseudonyms

__getattr__, __all__ = lazy_names(__name__)
