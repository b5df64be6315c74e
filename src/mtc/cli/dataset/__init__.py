"""The command ``mtc dataset``."""

from mtc.cli.dataset.command import app

__all__ = ["app"]
