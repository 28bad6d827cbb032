"""Edits of the forward pass, scored by the model's own answers: erasure, ablation, patching, interchange, steering."""
