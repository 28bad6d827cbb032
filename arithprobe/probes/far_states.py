"""The check for states that are too far from 0 for sums of squares."""

from torch import Tensor

from arithprobe.errors import ArithprobeError

_FAR, _ROUNDED = 1e6, 1e-12  # means in units of the spread that are too large; spread, of the mean, that is rounding


def require_near(states: Tensor) -> None:
    """Refuse (B, C, D) states whose second moments about 0 would lose their spread.

    Raises:
        ArithprobeError: If they would; the text names the cell, its mean and its spread.
    """
    mean, spread = states.mean(dim=0), states.std(dim=0, correction=0)
    lost = (spread < mean.abs() / _FAR) & (spread > _ROUNDED * mean.abs())  # less is a constant
    if bool(lost.any()):
        cell, dimension = lost.nonzero()[0].tolist()
        raise ArithprobeError(
            f"states of cell {cell}: dimension {dimension} has mean {float(mean[cell, dimension]):.3g} and spread "
            f"{float(spread[cell, dimension]):.3g}; expected a mean of at most {_FAR:.0e} times the spread: subtract a "
            "constant first"
        )
