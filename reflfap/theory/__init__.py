"""The theory: what the mathematics says that the experiments show."""
