"""The command ``mtc watch``."""

from mtc.cli.watch.command import watch

__all__ = ["watch"]
