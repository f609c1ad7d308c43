"""Measures of answers against labels: classification, calibration, comparison; their figures and tables."""
