"""Deep networks by hand: layers with their gradients, and the two networks of the paper."""
