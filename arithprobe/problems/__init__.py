"""Problems: their grammar, and everything that can be said of a column of them without looking at a network."""
