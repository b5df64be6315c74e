"""Packed batches: the length-aware training path of the networks."""
