"""Measurements: medians of paired runs and ratios, with the machine and its BLAS kernel."""
