"""Measures of a grid of models, and how they grow with size."""
