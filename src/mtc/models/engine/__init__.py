"""Networks in evaluation mode on the CPU, in kernels of their own: see docs/engine.md.

Names are imported when they are first asked for: the engine of fields needs no PyTorch.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.models.engine.engine import Engine, engine_for, fields_engine_for
    from mtc.models.engine.fields import FieldsEngine

__all__ = ["Engine", "FieldsEngine", "engine_for", "fields_engine_for"]

_HOMES = {
    "Engine": "engine",
    "FieldsEngine": "fields",
    "engine_for": "engine",
    "fields_engine_for": "engine",
}

__getattr__ = lazy_names(__name__, _HOMES)
