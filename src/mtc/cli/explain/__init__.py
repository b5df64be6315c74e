"""The command ``mtc explain``."""

from mtc.cli.explain.command import explain

__all__ = ["explain"]
