"""Many trials: a grid over a configuration, and the engines that run it."""
