"""Data: seeded sampling, TSV files, pre-encoded tensors, the Lightning data module."""
