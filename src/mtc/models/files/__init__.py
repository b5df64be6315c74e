"""The model file: card, loading, saving."""
