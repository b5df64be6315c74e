"""The command ``mtc serve``."""

from mtc.cli.serve.command import serve

__all__ = ["serve"]
