"""Data sets: artificial ones, which are drawn, and image sets, which are read from files."""
