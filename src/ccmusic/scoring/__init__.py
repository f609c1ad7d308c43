"""Measures of answers against labels: classification, calibration, figures, tables."""
