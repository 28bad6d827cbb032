"""Probes: pure functions from hidden states and targets to held-out scores, without Lightning, files or figures."""
