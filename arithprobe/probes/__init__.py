"""Probes: pure functions from hidden states and targets to held-out scores. No Lightning, no files, no figures."""
