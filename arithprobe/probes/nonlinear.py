r"""MLP probes of states, with a permutation null, a control task, and ridge on the same rows.

A probe with hidden units can compute things that its input does not represent. So three scores are its controls:

* *null*: the same pipeline (split, early stopping, scoring) on labels permuted between groups, scored on those labels;
* *selectivity* (Hewitt and Liang 2019, https://arxiv.org/abs/1909.03368): score on the task minus score on a control
  task, in which every type of row has a fixed random label. A control task is learnable only if types recur, so these
  two are trained and scored under a split by rows, on held-out rows whose type occurs in training;
* *ridge* on the same standardised training rows.

Rows are split in three by a hash of their group: 2 of 10 folds are reported, 1 decides when training stops (it is never
reported), and 7 are trained on. Two ensembles train all probes (:mod:`arithprobe.probes.mlp`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.probes.accuracy import circular_error, within
from arithprobe.probes.controls import control_labels
from arithprobe.probes.mlp import MLPSettings, fit_ensemble, mean_and_scale
from arithprobe.probes.mlp_scores import Kind, MLPScores, score_of, score_with_interval
from arithprobe.probes.splits import fold_of, permute_between_groups

MOST_CLASSES = 200
"""A target with more distinct values is not for classification."""
_FOLDS = 10  # 0 and 1 reported, 2 for early stopping


class _FitSetup(NamedTuple):
    """What all fits of one probe share, on all N rows."""

    states: Tensor  # (S, N, D)
    kind: Kind
    classes: Tensor  # (K,) float64 sorted values; of use for classification only
    settings: MLPSettings


class _Parts(NamedTuple):
    """(N,) bool each."""

    train: Tensor
    stop: Tensor
    test: Tensor


def mlp_scores(
    states: Tensor,
    sites: Sequence[str],
    target: str,
    values: Tensor,
    group: Tensor,
    pair: Tensor,
    kind: Kind,
    *,
    modulus: int | None = None,
    settings: MLPSettings | None = None,
    shuffles: int = 19,
    tolerance: float = 1.0,
    types: Tensor | None = None,
    alpha: float = 1.0,
    seed: int = 0,
) -> MLPScores:
    """Probe S sites for one target.

    Args:
        states: (S, N, D) states of N rows.
        sites: Names of the S sites.
        target: Name of the target.
        values: (N,) float64 true values.
        group: (N,) int64; rows of one group are in one part of the split (the sum, by default of the callers).
        pair: (N,) int64 identity of each row (the operand pair), for the split by rows of the selectivity.
        kind: ``regression`` (scored by R2) or ``classification`` (by accuracy).
        modulus: Errors are measured round a circle of this length; None on a line.
        settings: Shape and training of the probes; the defaults if None.
        shuffles: Label permutations P of the null.
        tolerance: ``within`` is the share of predictions not more than this off, unrounded.
        types: (N,) int64 type of each row for the control task; the group by default.
        alpha: Penalty of ridge, on standardised states.
        seed: Seed of permutations and control labels.

    Raises:
        ArithprobeError: If states are not finite, labels are constant or have too many classes, or a part is empty.
    """
    _check(states, sites, target, values, shuffles)
    require_mlp_rows(target, values, group, pair, kind)
    group, values = group.cpu(), values.cpu().double()
    types = group if types is None else types.cpu()
    setup = _FitSetup(states, kind, torch.unique(values), settings or MLPSettings())
    parts = _split(group, f"MLP probe of {target!r}", "groups")
    rows = torch.cat([values[None], permute_between_groups(values, group, shuffles, seed).T])  # (1 + P, N)
    predicted, epochs = _predictions(setup, rows, parts)
    truth = rows[:, parts.test]
    score, low, high = score_with_interval(predicted[:, 0], truth[0], kind, group[parts.test])
    on_pairs, n_pairs = _on_pairs(setup, values, types, _split(pair.cpu(), f"MLP probe of {target!r}", "pairs"), seed)
    close = within(predicted, truth, tolerance, modulus)
    majority = torch.unique(truth[0], return_counts=True)[1].max().item() / truth.shape[1]
    error = torch.full_like(score, torch.nan) if modulus is None else circular_error(predicted[:, 0], truth[0], modulus)
    return MLPScores(
        target=target,
        kind=kind,
        sites=tuple(sites),
        score=score,
        low=low,
        high=high,
        null=score_of(predicted[:, 1:], truth[1:], kind),
        within=close[:, 0],
        null_within=close[:, 1:],
        circular_error=error,
        ridge=score_of(_ridge(setup, values, parts, alpha), truth[0], kind),
        task_on_pairs=on_pairs[:, 0],
        control_on_pairs=on_pairs[:, 1],
        chance=majority if kind == "classification" else 0.0,
        n_train=int(parts.train.sum()),
        n_stop=int(parts.stop.sum()),
        n_test=int(parts.test.sum()),
        n_pairs=n_pairs,
        n_classes=len(setup.classes) if kind == "classification" else None,
        epochs=epochs[:, 0],
    )


def require_mlp_rows(target: str, values: Tensor, group: Tensor, pair: Tensor, kind: Kind) -> None:
    """Refuse rows that cannot be probed, before there are any states; arguments as in :func:`mlp_scores`.

    Raises:
        ArithprobeError: If the kind is unknown, labels are constant or have too many classes, or a part is empty.
    """
    if kind not in ("regression", "classification"):
        raise ArithprobeError(f"MLP probe: kind is {kind!r}; expected 'regression' or 'classification'")
    count = len(torch.unique(values))
    if count < 2:
        raise ArithprobeError(f"MLP probe of {target!r}: the labels are constant; a constant cannot be probed")
    if kind == "classification" and count > MOST_CLASSES:
        raise ArithprobeError(
            f"MLP probe of {target!r}: {count} distinct values; classification takes up to {MOST_CLASSES}: "
            "use regression"
        )
    _split(group, f"MLP probe of {target!r}", "groups")
    _split(pair, f"MLP probe of {target!r}", "pairs")


def _check(states: Tensor, sites: Sequence[str], target: str, values: Tensor, shuffles: int) -> None:
    if states.dim() != 3 or states.shape[:2] != (len(sites), len(values)):
        expected = f"({len(sites)} sites, {len(values)} rows, D)"
        raise ArithprobeError(f"MLP probe of {target!r}: states are {tuple(states.shape)}; expected {expected}")
    broken = [
        site for site, finite in zip(sites, torch.isfinite(states).all(2).all(1).tolist(), strict=True) if not finite
    ]
    if broken:
        raise ArithprobeError(f"MLP probe of {target!r}: the states at {broken[0]} are not all finite numbers")
    if shuffles < 1:
        raise ArithprobeError(f"MLP probe of {target!r}: shuffles is {shuffles}; expected 1 or more")


def _split(key: Tensor, what: str, name: str) -> _Parts:
    fold, count = fold_of(key, _FOLDS), len(torch.unique(key))
    parts = _Parts(fold > 2, fold == 2, fold < 2)
    sizes = [int(part.sum()) for part in parts]
    if count < _FOLDS or min(sizes) < 2:
        raise ArithprobeError(
            f"{what}: {count} {name} make {sizes[0]} training, {sizes[1]} stop and {sizes[2]} reported rows; "
            f"expected {_FOLDS} {name} or more, and 2 rows or more in each part: probe more rows"
        )
    return parts


def _predictions(setup: _FitSetup, rows: Tensor, parts: _Parts) -> tuple[Tensor, Tensor]:
    """(S, R, n_test) predictions in label units, and (S, R) epochs, for (R, N) rows of labels, at every site."""
    n_sites, n_rows = len(setup.states), len(rows)
    site = torch.arange(n_sites).repeat_interleave(n_rows)
    classes = len(setup.classes) if setup.kind == "classification" else None
    labels = (rows if classes is None else torch.searchsorted(setup.classes, rows)).repeat(n_sites, 1)
    ensemble = fit_ensemble(setup.states, site, labels, classes, parts.train, parts.stop, setup.settings)
    predicted = ensemble.predict(setup.states[:, parts.test.to(setup.states.device)]).cpu()
    in_units = predicted if classes is None else setup.classes[predicted]
    return in_units.reshape(n_sites, n_rows, -1), ensemble.epochs.cpu().reshape(n_sites, n_rows)


def _on_pairs(setup: _FitSetup, values: Tensor, types: Tensor, parts: _Parts, seed: int) -> tuple[Tensor, int]:
    """(S, 2) scores of task and control on held-out rows whose type occurs in training, and the number of those."""
    rows = torch.stack([values, control_labels(values, types, seed)])
    known = torch.isin(types, types[parts.train]) & parts.test
    if int(known.sum()) < 2:
        return torch.full((len(setup.states), 2), torch.nan, dtype=torch.float64), int(known.sum())
    predicted, _ = _predictions(setup, rows, _Parts(parts.train, parts.stop, known))
    return score_of(predicted, rows[:, known], setup.kind), int(known.sum())


def _ridge(setup: _FitSetup, values: Tensor, parts: _Parts, alpha: float) -> Tensor:
    """(S, n_test) predictions of ridge on the training rows; of classes, the largest of one output a class."""
    states = setup.states.double().cpu()
    x = states[:, parts.train]
    mean, scale = mean_and_scale(x)
    x, x_test = (x - mean) / scale, (states[:, parts.test] - mean) / scale
    y = values[:, None] if setup.kind == "regression" else (values[:, None] == setup.classes).double()
    y = y[parts.train]
    penalised = x.transpose(1, 2) @ x + alpha * torch.eye(x.shape[2], dtype=x.dtype)
    slope = torch.cholesky_solve(x.transpose(1, 2) @ (y - y.mean(dim=0)), torch.linalg.cholesky(penalised))
    output = x_test @ slope + y.mean(dim=0)
    return output.squeeze(2) if setup.kind == "regression" else setup.classes[output.argmax(dim=2)]
