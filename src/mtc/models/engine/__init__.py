"""Networks in evaluation mode on the CPU, in compiled kernels: see docs/engine.md."""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.models.engine.engine import Engine as Engine
    from mtc.models.engine.engine import engine_for as engine_for

__getattr__, __all__ = lazy_names(__name__)
