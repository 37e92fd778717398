"""Training: (N6) gradient descent as released, and its plateau schedule."""
