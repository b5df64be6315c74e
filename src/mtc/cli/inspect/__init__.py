"""The command ``mtc inspect``."""

from mtc.cli.inspect.command import inspect

__all__ = ["inspect"]
