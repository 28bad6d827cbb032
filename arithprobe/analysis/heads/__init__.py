"""What the attention heads look at, and what they do."""
