"""Sweeps: many cells, what they share computed once, on any executor, resumable.

grid says which cells, plan what has to be computed for them and in which order, work is what a
worker does, engine hands out the work, executors are processes and clusters, table is the outcome.
"""
