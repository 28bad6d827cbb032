"""Ridge probes by scikit-learn: what those of this library are compared with."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from arithprobe.probes.moments import ALPHAS


def ridge(alpha):
    """Ridge on states of unit variance in each dimension."""
    return make_pipeline(StandardScaler(), Ridge(alpha=alpha, solver="svd"))


def chosen(states, labels, alphas=ALPHAS):
    """The penalty of each column, by generalised cross-validation that counts degrees of freedom 1.1 times."""
    h = StandardScaler().fit_transform(states)
    n, y = len(h), labels - labels.mean(axis=0)
    spread, scores = np.linalg.svd(h, compute_uv=False) ** 2, []
    for alpha in alphas:
        errors = np.square(y - Ridge(alpha=alpha, solver="svd").fit(h, y).predict(h).reshape(y.shape)).sum(axis=0)
        left = n - 1 - 1.1 * (spread / (spread + alpha)).sum()
        scores.append(n * errors / left**2 if left > 1e-6 * n else np.full(y.shape[1], np.inf))
    return np.array(alphas)[np.argmin(scores, axis=0)]


def by_gcv(states, labels, others, alphas=ALPHAS):
    """(M, K) what ridge of the penalties chosen predicts of M other states."""
    columns = [
        ridge(alpha).fit(states, labels[:, column]).predict(others)
        for column, alpha in enumerate(chosen(states, labels, alphas))
    ]
    return np.stack(columns, axis=1)
