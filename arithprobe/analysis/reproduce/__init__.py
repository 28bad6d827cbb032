"""The original notebook's numbers, beside the honest ones."""
