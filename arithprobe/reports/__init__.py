"""One page about a run, for people: from its files, in one file that needs no network."""
