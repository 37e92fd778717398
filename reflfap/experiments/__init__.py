"""Experiments: they compute, and leave input, output and progress to the caller."""
