"""Models: the transformer, its training objectives, and checkpoints of either kind."""
