"""A small part of Fashion-MNIST that comes with the package, and how it was made."""
