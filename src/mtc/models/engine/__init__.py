"""Networks in evaluation mode on the CPU, in compiled kernels: see docs/engine.md."""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.models.engine.engine import Engine, engine_for

__all__ = ["Engine", "engine_for"]

_HOMES = {"Engine": "engine", "engine_for": "engine"}

__getattr__ = lazy_names(__name__, _HOMES)
