"""Training, validation and test subsets: by flow, by packet, by group; leakage between them."""
