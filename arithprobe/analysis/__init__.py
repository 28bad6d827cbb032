"""Checkpoint in, result out: what the analysis commands and a notebook call."""
