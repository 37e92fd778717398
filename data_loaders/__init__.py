"""Data sets: drawn ones (artificial), and in time downloaded ones."""
