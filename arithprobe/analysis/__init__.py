"""Analyses from a checkpoint to a result, for the commands and for notebooks."""
