"""The report of a run: one page made from its files, in one file that needs no network."""
