"""``mtc flows``."""

from mtc.cli.flows.command import flows

__all__ = ["flows"]
