r"""The original notebook's ridge probes, as its scripts compute them.

Its numbers are scikit-learn's, so ``Ridge``, ``StandardScaler`` and the scores are scikit-learn's here as well. Scored
on the rows they were fitted on, states are float32 as they come from the model, and so are sums and answers; angles
are float64 (the digits that the notebook printed show both). The same functions score held out where
``Examples.fold`` is given: every fit then sees the other folds only, everything is float64, and columns of cosine and
sine that do not vary are left out.
"""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = npt.NDArray[Any]
NotebookValues = dict[str, Any]
"""Results by the notebook's names: numbers, lists of numbers, lists of records."""

ALPHA = 1.0
PROBE_ROWS = 1000
"""Rows of the notebook's printed REG-MODK position table."""
PATCH_ROWS = 1024
"""Rows of its ablation."""
SMALL_PERIODS, SMALL_FREQUENCIES = (2, 3, 4, 5, 7, 8), 3
_MOST_FREQUENCIES = 12
_CONSTANT = 1e-8  # standard deviation of a cosine or sine that is one value but for rounding


class Examples(NamedTuple):
    """Hidden states after the last LayerNorm, and their labels."""

    pooled: Array
    """(N, D) float32 state of the last real token."""
    by_position: Array
    """(N, T, D) float32; padded positions hold the LayerNorm of zeros, which is its bias: PyTorch's evaluation fast
    path fills padding with zeros before the last LayerNorm, and the notebook probed it like the rest."""
    lengths: Array
    """(N,) int64 real tokens."""
    total: Array
    """(N,) int64 x + y."""
    answer: Array
    """(N,) int64 the sum, or its residue."""
    fold: Array | None = None
    """(N,) int64 fold of each row; None to fit and score on the same rows, as the notebook did."""

    def rows(self, which: slice | Array) -> "Examples":
        """Some of the rows."""
        states = (self.pooled[which], self.by_position[which], self.lengths[which])
        return Examples(*states, self.total[which], self.answer[which], None if self.fold is None else self.fold[which])

    @property
    def dtype(self) -> npt.DTypeLike:
        """What is computed with: float32 as the notebook, float64 held out."""
        return np.float32 if self.fold is None else np.float64


def residues(examples: Examples) -> int:
    """The notebook's k: the largest answer plus one."""
    return int(examples.answer.max()) + 1


def run_probes(examples: Examples) -> NotebookValues:
    """R2 of x + y at the last token, and at every position: all rows, and (masked) those with a real token there.

    A position that fewer than 2 (D + 1) rows reach has no masked value: a fit of D weights says nothing there.
    """
    n_positions, d_model = int(examples.lengths.max()), examples.pooled.shape[1]

    def score(states: Array, some: Examples) -> float:
        return r2_of(predictions(states, some.total, some), some.total, some)

    masked: list[float | None] = []
    labels = examples._replace(by_position=examples.by_position[:, :0])
    for position in range(n_positions):
        present = examples.lengths > position
        real = labels.rows(present)
        enough = len(real.total) >= 2 * (d_model + 1) and (real.fold is None or len(set(real.fold.tolist())) > 1)
        masked.append(score(examples.by_position[present, position], real) if enough else None)
    return {
        "pooled_r2": score(examples.pooled, examples),
        "pos_r2": [score(examples.by_position[:, position], examples) for position in range(n_positions)],
        "pos_r2_masked": masked,
    }


def run_patching(examples: Examples) -> NotebookValues:
    """MSE of a ridge head for the answer, and of one refitted without the direction that reads x + y."""
    before = _error(predictions(examples.pooled, examples.answer, examples), examples)
    after = _cut_error(_sum_directions(examples), examples)
    return {"ridge_head_mse_before": before, "ridge_head_mse_after": after, "delta_mse": after - before}


def run_multidim_sum(examples: Examples) -> NotebookValues:
    """REG-SUM: the same with all rows, beside one random direction."""
    predicted = predictions(examples.pooled, examples.total, examples)
    base = _error(predicted, examples)
    random = np.random.default_rng(0).standard_normal((examples.pooled.shape[1], 1))
    probe = _cut_error(_sum_directions(examples), examples) - base
    control = _cut_error([random / np.linalg.norm(random)] * _count(examples), examples) - base
    return {
        "scalar_probe_r2": r2_of(predicted, examples.total, examples),
        "base_mse": base,
        "delta_mse_probe_1d": probe,
        "delta_mse_random_1d": control,
        "excess_delta_mse": probe - control,
    }


def run_multidim_modk(examples: Examples, k: int) -> NotebookValues:
    """REG-MODK: Fourier probes of the residue, small periods on it, and ablation of the Fourier subspaces."""
    n_most = most_frequencies(examples.pooled.shape[1])
    angle = 2 * np.pi * examples.answer / k
    circle, names = _circle(angle, n_most, examples)
    scaled = [fit_ridge(examples.pooled[fit], circle[fit], examples, scale=True) for fit, _ in _splits(examples)]
    scores = _column_scores(predictions(examples.pooled, circle, examples, scale=True), circle)
    small = []
    for period in SMALL_PERIODS:
        columns, kept = _circle(2 * np.pi * (examples.answer % period) / period, SMALL_FREQUENCIES, examples)
        of_period = _column_scores(predictions(examples.pooled, columns, examples, scale=True), columns)
        small += [{"kprime": period, **_prefix(n, of_period, kept)} for n in range(1, SMALL_FREQUENCIES + 1)]
    directions = [model[-1].coef_.T for model in scaled]
    return {
        "Nmax": n_most,
        "fourier_r2_curve": [_prefix(n, scores, names) for n in range(1, n_most + 1)],
        "smallk_r2": small,
        "causal": _ablations(examples, directions, names, n_most),
    }


def most_frequencies(d_model: int) -> int:
    """The notebook's Nmax."""
    return min(_MOST_FREQUENCIES, d_model // 8)


def _ablations(examples: Examples, directions: list[Array], names: list[str], n_most: int) -> NotebookValues:
    """MSE added by projecting out what N frequencies are read by, and by a random subspace of the same rank."""
    base = _error(predictions(examples.pooled, examples.answer, examples), examples)
    rows: dict[str, list[NotebookValues]] = {"delta_mse": [], "delta_mse_random": [], "excess_delta_mse": []}
    for n in range(1, n_most + 1):
        columns = _first(n, names)
        random = np.random.default_rng(n).standard_normal((examples.pooled.shape[1], len(columns)))
        probe = _cut_error([np.linalg.qr(one[:, columns])[0] for one in directions], examples) - base
        control = _cut_error([np.linalg.qr(random)[0]] * _count(examples), examples) - base
        for name, value in zip(rows, (probe, control, probe - control), strict=True):
            rows[name].append({"N": n, "r": len(columns), name: value})
    return {"base_mse": base, **{f"{name}_vs_dim": values for name, values in rows.items()}}


def _splits(examples: Examples) -> Iterator[tuple[Any, Any]]:
    """Rows to fit on, rows to score on."""
    if examples.fold is None:
        yield slice(None), slice(None)
    else:
        for fold in np.unique(examples.fold):
            yield examples.fold != fold, examples.fold == fold


def _count(examples: Examples) -> int:
    return sum(1 for _ in _splits(examples))


def fit_ridge(x: Array, y: Array, examples: Examples, *, scale: bool = False) -> Any:
    """A pipeline whose last step is the ridge.

    Float32 and a small penalty are the notebook's, and on states of few dimensions scikit-learn warns of both.
    """
    steps = ([StandardScaler()] if scale else []) + [Ridge(alpha=ALPHA)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)
        return make_pipeline(*steps).fit(x.astype(examples.dtype, copy=False), y)


def predictions(x: Array, y: Array, examples: Examples, *, scale: bool = False) -> Array:
    """Predictions for every row, of the fits that :func:`_splits` allows it."""
    y = y if y.dtype.kind == "f" else y.astype(examples.dtype)
    predicted = np.empty(y.shape, dtype=examples.dtype)
    for fit, score in _splits(examples):
        predicted[score] = fit_ridge(x[fit], y[fit], examples, scale=scale).predict(
            x[score].astype(examples.dtype, copy=False)
        )
    return predicted


def _sum_directions(examples: Examples) -> list[Array]:
    """(D, 1) the unit direction that reads x + y, one a split."""
    found = []
    for fit, _ in _splits(examples):
        weights = fit_ridge(examples.pooled[fit], examples.total[fit].astype(examples.dtype), examples)[-1].coef_
        found.append((weights / np.linalg.norm(weights))[:, None])
    return found


def _cut_error(bases: list[Array], examples: Examples) -> float:
    """MSE of a head refitted on states without the span of (D, r) orthonormal columns, one basis a split."""
    answer = examples.answer.astype(examples.dtype)
    predicted = np.empty_like(answer)
    for (fit, score), basis in zip(_splits(examples), bases, strict=True):
        states, basis = examples.pooled.astype(examples.dtype), basis.astype(examples.dtype)
        states -= (states @ basis) @ basis.T
        predicted[score] = fit_ridge(states[fit], answer[fit], examples).predict(states[score])
    return _error(predicted, examples)


def _error(predicted: Array, examples: Examples) -> float:
    return float(mean_squared_error(examples.answer.astype(examples.dtype), predicted))


def r2_of(predicted: Array, true: Array, examples: Examples) -> float:
    """scikit-learn's R2; held out, NaN for labels that are all one value."""
    if examples.fold is not None and (true == true[0]).all():
        return float("nan")
    return float(r2_score(true.astype(examples.dtype), predicted))


def _circle(angle: Array, n_most: int, examples: Examples) -> tuple[Array, list[str]]:
    """(N, 2 n_most) cos and sin of n times the angle, interleaved; their names, held out "" where one is constant."""
    columns = [function(n * angle) for n in range(1, n_most + 1) for function in (np.cos, np.sin)]
    names = [f"{name} {n}" for n in range(1, n_most + 1) for name in ("cos", "sin")]
    if examples.fold is not None:
        names = [name if column.std() > _CONSTANT else "" for name, column in zip(names, columns, strict=True)]
    return np.stack(columns, axis=1) if columns else np.empty((len(angle), 0)), names


def _column_scores(predicted: Array, true: Array) -> Array:
    return np.asarray(r2_score(true, predicted, multioutput="raw_values")) if true.shape[1] else np.empty(0)


def _first(n: int, names: list[str]) -> list[int]:
    """The columns of the first n frequencies that are not left out."""
    return [column for column in range(2 * n) if names[column]]


def _prefix(n: int, scores: Array, names: list[str]) -> NotebookValues:
    columns = _first(n, names)
    record: NotebookValues = {"N": n, "dim": 2 * n, "r2": float(scores[columns].mean()) if columns else None}
    if len(columns) < 2 * n:
        record["left_out"] = 2 * n - len(columns)
    return record
