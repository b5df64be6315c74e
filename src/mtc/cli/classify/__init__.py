"""The command ``mtc classify``."""

from mtc.cli.classify.command import classify

__all__ = ["classify"]
