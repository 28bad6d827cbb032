"""Figures: functions from a result value to a ``matplotlib.figure.Figure``."""
