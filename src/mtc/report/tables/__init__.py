"""Tables of the report, one kind per file."""
