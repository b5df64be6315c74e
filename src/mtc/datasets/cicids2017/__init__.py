"""Build and split datasets of CICIDS2017's flow features."""
