"""Scores, calibration and rejection thresholds of a finished run."""
