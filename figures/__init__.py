"""Figures: one module and script each. They read results; none computes an experiment."""
