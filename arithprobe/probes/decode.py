"""Decoding of the angles that a Fourier probe reads into values."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.probes.accuracy import binomial_interval, circular_error
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.sample import StateSample
from arithprobe.probes.targets import target_values
from arithprobe.problems.circles import Circle

_AT_ONCE = 10_000_000  # values x rows compared at a time


@dataclass(frozen=True)
class AngleDecoding:
    """Values modulo the period, decoded from held-out probe outputs at the last token of S sites."""

    circle: Circle
    """The circle, with its F frequencies."""
    sites: tuple[str, ...]
    """The S sites."""
    accuracy: Tensor
    """(S,) share of rows decoded right from all frequencies together: the value whose waves fit the outputs best, each
    frequency weighted by the inverse of its error variance on the rows of the fit."""
    low: Tensor
    """(S,) lower end of its exact 95 % binomial interval."""
    high: Tensor
    """(S,) upper end."""
    error: Tensor
    """(S,) mean circular distance between the value decoded and the true one; a guess makes a quarter of the period."""
    accuracy_by_frequency: Tensor
    """(F, S) the same from one frequency alone: the value of the nearest angle. A frequency that shares a divisor g
    with the period tells values apart only modulo period / g."""
    error_by_frequency: Tensor
    """(F, S) their mean circular error."""
    chance: float
    """Accuracy of always answering the most frequent value."""
    n: int
    """Rows decoded."""


def decode_values(waves: Tensor, circle: Circle, columns: Sequence[int]) -> Tensor:
    """Return the values whose waves agree best with the probe's outputs.

    >>> circle = Circle("residue", 5, (1, 2))
    >>> angle = 2 * torch.pi * torch.outer(torch.arange(5.0), torch.tensor([1.0, 2.0])) / 5
    >>> waves = torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(1)
    >>> decode_values(waves, circle, [0, 2, 4]).tolist()
    [0, 1, 2, 3, 4]

    Args:
        waves: (..., W) predicted cosines and sines, frequency by frequency.
        circle: Period and frequencies.
        columns: F + 1 offsets of each frequency's columns.

    Returns:
        (...) int64 in 0..period - 1: the argmax of the summed products of predicted waves and waves of the value.
    """
    values = torch.arange(circle.period, dtype=torch.float64)
    table = []
    for index, frequency in enumerate(circle.frequencies):
        angle = 2 * torch.pi * (frequency * values % circle.period) / circle.period
        table += [angle.cos(), angle.sin()][: columns[index + 1] - columns[index]]
    fits = torch.stack(table).to(waves)
    rows = waves.reshape(-1, waves.shape[-1]).split(max(1, _AT_ONCE // circle.period))  # type: ignore[no-untyped-call]
    return torch.cat([(part @ fits).argmax(dim=-1) for part in rows]).reshape(waves.shape[:-1])


def decode_angles(survey: FourierSurvey, sample: StateSample, number: int = 0) -> AngleDecoding:
    """Decode the held-out rows of a sample with probes that were not fitted on their fold.

    Args:
        survey: Moments of the whole pass, with the position ``last``.
        sample: States of the last token at the survey's sites.
        number: The number of the circle in the survey.

    Raises:
        ArithprobeError: If the sample has no held-out row.
    """
    ridge, (circle, _, _, waves, _) = survey.ridge, survey.parts[number]
    last, width = ridge.positions.names.index("last"), len(ridge.positions.names)
    columns = [offset - waves[0] for offset in waves]
    fitter = ridge.fitter.select([row * width + last for row in range(len(ridge.sites))], waves[-1])
    truth = target_values(f"{circle.quantity}mod{circle.period}", survey.rows).long()
    states, kept = sample.kept()
    target = ridge.raw(ridge.columns[kept][:, : waves[-1]])[:, None, waves[0] :]  # (k, 1, W)
    outcome, sure, true = [], [], []
    for index in ridge.held_out:
        held_out = ridge.fold[kept] == index
        probe = fitter.fit(ridge.split.alphas, ridge.split.choose, without=index)
        output = ridge.raw(probe.predict(states.transpose(0, 1)))[..., waves[0] :]  # (k, S, W)
        fitted = ~held_out & ridge.valid[kept, last]
        variance = (output - target)[fitted].square().mean(dim=0)  # (S, W), on the rows of the fit
        outcome.append(output[held_out])
        sure.append(output[held_out] / _of_frequency(variance, columns))
        true.append(truth[kept[held_out]])
    outputs, weighted, expected = torch.cat(outcome), torch.cat(sure), torch.cat(true)  # (n, S, W) twice, (n,)
    n = len(expected)
    if not n:
        raise ArithprobeError(f"{circle.name}: none of the {len(sample.seen)} rows kept is held out; keep more rows")
    decoded = decode_values(weighted, circle, columns)  # (n, S)
    alone = torch.stack(
        [
            decode_values(outputs[..., first:end], circle._replace(frequencies=(frequency,)), [0, end - first])
            for frequency, (first, end) in zip(circle.frequencies, itertools.pairwise(columns), strict=True)
        ]
    )
    right = (decoded == expected[:, None]).sum(dim=0)
    read = outputs.isfinite().all(dim=2).all(dim=0)  # (S,) where states overflow nothing is decoded
    intervals = [binomial_interval(int(count), n) for count in right]
    return AngleDecoding(
        circle=circle,
        sites=ridge.sites,
        accuracy=torch.where(read, right / n, torch.nan),
        low=torch.where(read, torch.tensor([low for low, _ in intervals]), torch.nan),
        high=torch.where(read, torch.tensor([high for _, high in intervals]), torch.nan),
        error=torch.where(read, circular_error(decoded.T, expected, circle.period), torch.nan),
        accuracy_by_frequency=(alone == expected[:, None]).double().mean(dim=1),
        error_by_frequency=circular_error(alone.transpose(1, 2), expected, circle.period),
        chance=int(torch.bincount(expected).max()) / n,
        n=n,
    )


def _of_frequency(variance: Tensor, columns: Sequence[int]) -> Tensor:
    """(S, W) the mean over each frequency's columns, for every column of it."""
    means = [variance[:, first:end].mean(dim=1, keepdim=True) for first, end in itertools.pairwise(columns)]
    widths = [end - first for first, end in itertools.pairwise(columns)]
    return torch.cat([mean.expand(-1, width) for mean, width in zip(means, widths, strict=True)], dim=1).clamp(min=1e-9)
