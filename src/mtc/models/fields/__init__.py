"""The tabular network on header fields and leading bytes, and its compiled engine."""
