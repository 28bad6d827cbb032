"""The original notebook's nonlinear probes, and the same networks stopped by rows of their own.

The notebook's split is 80 / 20, and its networks stop early on the very 20 % that they are then scored on, under
shuffled labels too. Initial weights and the order of rows are those of :func:`~arithprobe.probes.mlp.fit_ensemble`,
not the notebook's draws, so its numbers come out alike, not digit by digit.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from torch import Tensor

from arithprobe.analysis.reproduce.notebook import Array, Examples, NotebookValues, fit_ridge, predictions, r2_of
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.errors import ArithprobeError
from arithprobe.probes.mlp import MLPSettings, fit_ensemble
from arithprobe.probes.mlp_scores import Kind
from arithprobe.probes.nonlinear import mlp_scores

_TEST_SHARE = 0.2


def require_split(answer: Array, path: str) -> None:
    """Refuse rows that the notebook's stratified split cannot be made of.

    Raises:
        ArithprobeError: If a residue has one row only, or the test part cannot hold one row of each.
    """
    values, counts = np.unique(answer, return_counts=True)
    if counts.min() < 2:
        raise ArithprobeError(
            f"{path}: residue {values[counts.argmin()]} has one row; the notebook's stratified 80 / 20 split needs two "
            f"of each of the {len(values)} residues ({len(answer)} rows are too few)"
        )
    if np.ceil(_TEST_SHARE * len(answer)) < len(values):
        raise ArithprobeError(
            f"{path}: has {len(answer)} rows; an 80 / 20 split with each of the {len(values)} residues in both parts "
            f"needs {round(len(values) / _TEST_SHARE)}"
        )


def nonlinear_split(answer: Array, *, stratify: bool) -> tuple[Array, Array]:
    """Row numbers of the 80 % and the 20 % of the notebook's nonlinear probes."""
    rows = np.arange(len(answer))
    train, test = train_test_split(rows, test_size=_TEST_SHARE, random_state=0, stratify=answer if stratify else None)
    return train, test


def nonlinear_ridge(examples: Examples, split: tuple[Array, Array]) -> float:
    """R2 of the answer by ridge on standardised states, on the test rows; held out, over the folds instead."""
    if examples.fold is not None:
        predicted = predictions(examples.pooled, examples.answer, examples, scale=True)
        return r2_of(predicted, examples.answer, examples)
    train, test = split
    answer = examples.answer.astype(examples.dtype)
    model = fit_ridge(examples.pooled[train], answer[train], examples, scale=True)
    return float(r2_score(answer[test], model.predict(examples.pooled[test])))


def notebook_mlps(
    states: Tensor, answer: Tensor, k: int | None, donors: Tensor, split: tuple[Array, Array], settings: MLPSettings
) -> tuple[list[NotebookValues], list[NotebookValues]]:
    """The notebook's networks on the states of several models at once.

    Args:
        states: (S, N, D) pooled states: the model's, then those of its untrained twins.
        answer: (N,) int64.
        k: Residues, or None for REG-SUM.
        donors: (N, P) rows whose labels are taken in each of P permutations, for the null (on the first states).
        split: Rows to train on, and rows to stop by and to score on.
        settings: The networks; the label shuffle has the next seed.

    Returns:
        The numbers of each of the S models, and of each permutation.
    """
    models, count = len(states), donors.shape[1]
    labels = torch.cat([answer.repeat(models, 1), answer[donors].T])
    site = torch.cat([torch.arange(models), torch.zeros(count, dtype=torch.int64)])
    shuffled = answer.clone()
    train = torch.from_numpy(split[0])
    shuffled[train] = answer[train][torch.from_numpy(np.random.default_rng(0).permutation(len(train)))]
    of_shuffled = (states, torch.arange(models), shuffled.repeat(models, 1))
    numeric, found = _scores(states, site, labels, None, split, settings), {}
    control = replace(settings, seed=settings.seed + 1)
    if k is None:
        found["mlp_reg_r2"] = numeric
        found["mlp_reg_r2_label_shuffle"] = _scores(*of_shuffled, None, split, control)
    else:
        found["mlp_reg_r2_numeric_residue"] = numeric
        found["mlp_cls_accuracy_residue"] = _scores(states, site, labels, k, split, settings)
        found["mlp_cls_accuracy_label_shuffle"] = _scores(*of_shuffled, k, split, control)
    by_model = [{key: scores[model] for key, scores in found.items()} for model in range(models)]
    nulls = [
        {key: scores[models + draw] for key, scores in found.items() if len(scores) > models} for draw in range(count)
    ]
    return by_model, nulls


def _scores(
    states: Tensor,
    site: Tensor,
    labels: Tensor,
    n_classes: int | None,
    split: tuple[Array, Array],
    settings: MLPSettings,
) -> list[float]:
    """R2, or the share of right classes, on the test rows, by model."""
    train, test = (torch.zeros(labels.shape[1], dtype=torch.bool) for _ in range(2))
    train[torch.from_numpy(split[0])] = True
    test[torch.from_numpy(split[1])] = True
    given = labels if n_classes is not None else labels.double()
    predicted = fit_ensemble(states, site, given, n_classes, train, test, settings).predict(states[:, test])
    measure: Callable[[Array, Array], float] = r2_score if n_classes is None else _accuracy
    return [float(measure(*pair)) for pair in zip(given[:, test].numpy(), predicted.numpy(), strict=True)]


def _accuracy(true: Array, predicted: Array) -> float:
    return float((true == predicted).mean())


def held_out_mlps(states: Tensor, dataset: ArithmeticDataset, settings: MLPSettings, seed: int) -> list[NotebookValues]:
    """Scores of the same networks where sums are split in three: to train on, to stop by, to report on.

    Args:
        states: (S, N, D) pooled states, one model each.
        dataset: The rows.
        settings: The networks.
        seed: Seed of the controls that come with :func:`~arithprobe.probes.nonlinear.mlp_scores`.

    Returns:
        The numbers of each of the S models.
    """
    total, answer = dataset.x + dataset.y, dataset.answers.double()
    pair = dataset.group("pair")
    sites = [f"model {number}" for number in range(len(states))]
    modulus = dataset.modulus
    kinds: dict[str, Kind] = {"mlp_reg_r2": "regression"}
    if modulus is not None:
        kinds = {"mlp_reg_r2_numeric_residue": "regression", "mlp_cls_accuracy_residue": "classification"}
    found: list[NotebookValues] = [{} for _ in states]
    for key, kind in kinds.items():
        scores = mlp_scores(
            states, sites, "answer", answer, total, pair, kind, settings=settings, shuffles=1, seed=seed
        )
        for model, scores_of_model in enumerate(found):
            scores_of_model[key] = float(scores.score[model])
            if kind == "classification":
                scores_of_model[f"{key}_interval"] = [float(scores.low[model]), float(scores.high[model])]
                scores_of_model[f"{key}_chance"] = scores.chance
    return found
