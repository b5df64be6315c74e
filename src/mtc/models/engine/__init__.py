"""MTC in evaluation mode on the CPU, in kernels of its own: see docs/engine.md."""

from mtc.models.engine.engine import Engine, engine_for

__all__ = ["Engine", "engine_for"]
