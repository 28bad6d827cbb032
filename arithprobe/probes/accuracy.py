"""Shares of correct answers, and their intervals."""

import math

from scipy.special import betaincinv
from torch import Tensor

from arithprobe.behaviour import difference


def binomial_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a rate (Clopper and Pearson 1934, https://doi.org/10.1093/biomet/26.4.404).

    Its ends are the rates at which this many successes or fewer, or this many or more, have a chance of
    ``(1 - level) / 2``. Rows are assumed to be independent.

    >>> low, high = binomial_interval(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4439, 0.9748)

    Args:
        successes: Right answers.
        n: Answers.
        level: Coverage.

    Returns:
        The two ends; NaN if there are no answers.
    """
    if n == 0:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def distance(predicted: Tensor, true: Tensor, modulus: int | None = None) -> Tensor:
    """The absolute error of predictions; with a modulus, the shorter way round the circle.

    >>> import torch
    >>> distance(torch.tensor([96.0, 1.0]), torch.tensor([1.0, 1.0]), 97).tolist()
    [2.0, 0.0]
    """
    return difference(predicted.double(), true.double(), modulus).abs()


def within(predicted: Tensor, true: Tensor, k: float, modulus: int | None = None) -> Tensor:
    """The share of predictions that are at most k off, over the last axis; NaN if there are none.

    >>> import torch
    >>> within(torch.tensor([96.0, 3.0]), torch.tensor([0.0, 0.0]), 1, modulus=97).item()
    0.5
    """
    return (distance(predicted, true, modulus) <= k).double().mean(dim=-1)


def circular_error(predicted: Tensor, true: Tensor, modulus: int) -> Tensor:
    """The mean distance round the circle, over the last axis; a guess has about a quarter of the modulus.

    >>> import torch
    >>> circular_error(torch.tensor([96.0, 3.0]), torch.tensor([0.0, 0.0]), 97).item()
    2.0
    """
    return distance(predicted, true, modulus).mean(dim=-1)
