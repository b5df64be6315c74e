"""Audit of a dataset: shared flows and hosts, shortcuts, and what its scores are worth."""
