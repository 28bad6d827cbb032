"""Models: the transformer, what it predicts, and checkpoints of either kind."""
