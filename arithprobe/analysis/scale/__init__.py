"""What grows with size, over a grid of models."""
