"""What attention heads look at: roles of characters, and statistics of patterns as sums over rows."""
